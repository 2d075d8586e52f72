-- SPDX-License-Identifier: MIT
require "spec.support.helper"
local packages = require "noether.policy.packages"

describe("packages.detect", function()
  local cases = {
    { "nothing", "", {} },
    { "the standard library", "import os, sys, json\nfrom pathlib import Path", {} },
    { "one import", "import numpy", { "numpy" } },
    { "a package behind others", "import json, numpy", { "numpy" } },
    { "renamed imports", "import pandas as pd, numpy as np, json", { "numpy", "pandas" } },
    { "a submodule", "import scipy.stats as st", { "scipy" } },
    { "from", "from bs4 import BeautifulSoup", { "beautifulsoup4" } },
    { "from a submodule", "from sklearn.linear_model import (\n  Ridge,\n  Lasso,\n)",
      { "scikit-learn" } },
    { "everything from", "from yaml import *", { "pyyaml" } },
    { "names that differ", "import PIL, cv2, yaml, dateutil, jwt, dotenv, torch",
      { "opencv4", "pillow", "python-dateutil", "python-dotenv", "pyjwt", "pyyaml", "torch" } },
    { "each package once, sorted", "import redis\nimport httpx\nfrom redis import Redis",
      { "httpx", "redis" } },
    { "indented imports", "def execute(i):\n\timport lxml\n", { "lxml" } },
    { "imports after ; and :",
      "x = 1; import six\nif x: import toml\ntry: import pytz\nexcept: pass",
      { "pytz", "six", "toml" } },
    { "continuation by a backslash",
      "import os, \\\n  six, \\\r\n  toml\nfrom \\\n yaml \\\n import x",
      { "pyyaml", "six", "toml" } },
    { "blanks of all kinds", "import\tsix ,\f toml\nfrom\tyaml . nodes\timport x",
      { "pyyaml", "six", "toml" } },
    { "from after yield from and raise from",
      "yield from a\nimport six\nraise X from e\nfrom toml import loads", { "six", "toml" } },
    { "a line that ends in \\r\\n", "import six\r\nimport toml\r\n", { "six", "toml" } },
    { "an import after a string without end", "s = 'it\nimport six", { "six" } },
    { "an import after a comment with a quote", "# it's\nimport six", { "six" } },
    { "an import after strings of all kinds",
      "'''a''' \"\"\"b\"\"\" rb'\\'' f\"{x['a']}\" ''\nimport six", { "six" } },

    { "what follows a byte order mark", "\239\187\191import six\nimport toml", { "six", "toml" } },
    { "what has another name in nixpkgs",
      "import pptx, fitz\nfrom pkg_resources import parse_version\nimport zstandard as z",
      { "pymupdf", "python-pptx", "setuptools", "zstandard" } },
    { "a package within a name for several", "import google.protobuf", { "protobuf" } },
    { "one that is imported from such a name", "from google import protobuf", { "protobuf" } },
    { "one that is behind others", "from google import (\n  auth,  # it's\n  protobuf as pb,\n)",
      { "google-auth", "protobuf" } },
    { "something of one", "from ruamel.yaml.comments import CommentedMap", { "ruamel-yaml" } },
    { "one with blanks", "import ruamel . yaml as y", { "ruamel-yaml" } },
    { "one of three words", "from google.cloud import storage", { "google-cloud-storage" } },
    { "both of two", "from google.cloud.storage import Client; import google.protobuf.json_format",
      { "google-cloud-storage", "protobuf" } },
    { "no name for several alone", "import google, ruamel\nfrom google import other", {} },

    { "no comments", "# import numpy\nx = 1 # import six", {} },
    { "no strings", "x = 'import numpy'; y = \"from yaml import x\"", {} },
    { "no docstrings", '"""\nimport numpy\n"""\n\'\'\'\nimport six\n\'\'\'', {} },
    { "no strings with prefixes", "x = rb'\\' import numpy'; y = f'''\nimport six\n'''", {} },
    { "no triple quotes with quotes inside", '"""it\'s "quoted" \\"""\nimport six\n"""', {} },
    { "no names that begin alike", "import requests_html\nimport numpyx, sixteen", {} },
    { "no words that end alike", "reimport = numpy\nx_import = six", {} },
    { "no relative imports", "from . import numpy\nfrom .numpy import x\nfrom ..six.a import b\n"
      .. "from ... yaml import c\nfrom .\\\n import toml", {} },
    { "no imported names", "from os import numpy, six as toml", {} },
    { "no aliases", "import os as numpy", {} },
    { "no calls", "import_(numpy)\nx.numpy\nimportlib.import_module('numpy')", {} },
  }
  for _, case in ipairs(cases) do
    it("finds " .. case[1], function()
      local expected = table.move(case[3], 1, #case[3], 1, {})
      table.sort(expected)
      assert.same(expected, packages.detect(case[2]))
    end)
  end

  it("needs time in proportion to the code, whatever it is", function()
    local hostile = {
      "import ", "import a,", "import a as import ", "from ", "from a ", "from .", "from.",
      "from a.from.from.", "from \\\n", "import \\\n", "'", "'\\\n", '"""', "\\", "a", "a.", " ",
      "import a" .. (" "):rep(30) .. ",", "from" .. (" "):rep(1000), "#", "\n", "import numpy\n",
      "\255", "\0", "from a import b, ", "from a import (b,\n", "from a import b as c,",
      "from a import (#\n",
      "\255", "\0",
    }
    for _, text in ipairs(hostile) do
      local code = text:rep(math.floor(1024 * 1024 / #text))
      local before = os.clock()
      packages.detect(code)
      packages.detect("import a" .. code)
      assert.is_true(os.clock() - before < 3, ("%q"):format(text))
    end
  end)

  it("names each package as nixpkgs does today", function()
    assert.equal("pillow", packages.known.PIL)
    assert.equal("torch", packages.known.torch)
    for import, attribute in pairs(packages.known) do
      assert.truthy(import:find("^[%a_][%w_]*$"), import)
      assert.truthy(attribute:find("^[a-z0-9][a-z0-9-]*$"), attribute)
    end
  end)

  it("knows every import that the original knew", function()
    local original = {}
    for name in ([[requests httpx aiohttp bs4 lxml pandas numpy scipy sklearn PIL cv2 yaml toml
      dateutil pytz boto3 psycopg2 pymongo redis celery fastapi pydantic cryptography jwt paramiko
      dotenv joblib torch transformers datasets pyarrow]]):gmatch("%S+") do
      original[#original + 1] = name
    end
    assert.equal(31, #original)
    assert.equal(31, #packages.detect("import " .. table.concat(original, ", ")))
  end)
end)
