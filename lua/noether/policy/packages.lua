-- SPDX-License-Identifier: MIT
--- Which packages of nixpkgs a Python stage needs, read from its import statements.
--
-- `import` is a reserved word: outside of strings and comments it is always a statement. So the
-- code is read as a row of tokens (comments, strings with any prefix, words, the rest), and only
-- what stands in an import statement counts: `import a, b as c`, `from a.b import c`, indented,
-- after `;` or `:`, continued by a backslash. Relative imports name no package. Every pattern takes
-- what it has matched for good, so the time is linear in the length of the code.
local lpeg = require "lpeg"

local P, R, S, C, Ct = lpeg.P, lpeg.R, lpeg.S, lpeg.C, lpeg.Ct

local M = {}

--- Attribute of nixpkgs' `python3Packages` by the name that is imported. What is not here (the
-- standard library, for one) needs nothing.
M.known = {
  Bio = "biopython", Crypto = "pycryptodome", Levenshtein = "levenshtein", OpenSSL = "pyopenssl",
  PIL = "pillow", aiohttp = "aiohttp", arrow = "arrow", attr = "attrs", attrs = "attrs",
  babel = "babel", boto3 = "boto3", botocore = "botocore", brotli = "brotli",
  bs4 = "beautifulsoup4", celery = "celery", certifi = "certifi", chardet = "chardet",
  click = "click", cryptography = "cryptography", cv2 = "opencv4", datasets = "datasets",
  dateutil = "python-dateutil", defusedxml = "defusedxml", django = "django",
  docutils = "docutils", docx = "python-docx", dotenv = "python-dotenv", duckdb = "duckdb",
  fastapi = "fastapi", feedparser = "feedparser", fitz = "pymupdf", flask = "flask",
  git = "gitpython", grpc = "grpcio", h5py = "h5py", html5lib = "html5lib", httpx = "httpx",
  humanize = "humanize", igraph = "igraph", imageio = "imageio", jinja2 = "jinja2",
  joblib = "joblib", jsonschema = "jsonschema", jwt = "pyjwt", lightgbm = "lightgbm",
  lxml = "lxml", lz4 = "lz4", magic = "python-magic", markdown = "markdown",
  markupsafe = "markupsafe", matplotlib = "matplotlib", more_itertools = "more-itertools",
  mpl_toolkits = "matplotlib", msgpack = "msgpack", nacl = "pynacl", networkx = "networkx",
  nltk = "nltk", numba = "numba", numpy = "numpy", openai = "openai", openpyxl = "openpyxl",
  orjson = "orjson", packaging = "packaging", pandas = "pandas", paramiko = "paramiko",
  pdfminer = "pdfminer-six", pdfplumber = "pdfplumber", pendulum = "pendulum",
  pkg_resources = "setuptools", plotly = "plotly", polars = "polars", pptx = "python-pptx",
  psutil = "psutil", psycopg = "psycopg", psycopg2 = "psycopg2", pyarrow = "pyarrow",
  pydantic = "pydantic", pygments = "pygments", pymongo = "pymongo", pymupdf = "pymupdf",
  pypdf = "pypdf", pytest = "pytest", pytz = "pytz", redis = "redis", regex = "regex",
  reportlab = "reportlab", requests = "requests", rich = "rich", scipy = "scipy",
  seaborn = "seaborn", serial = "pyserial", setuptools = "setuptools", shapely = "shapely",
  simplejson = "simplejson", six = "six", skimage = "scikit-image", sklearn = "scikit-learn",
  slugify = "python-slugify", sortedcontainers = "sortedcontainers", spacy = "spacy",
  sqlalchemy = "sqlalchemy", starlette = "starlette", statsmodels = "statsmodels", sympy = "sympy",
  tabulate = "tabulate", tenacity = "tenacity", tiktoken = "tiktoken", toml = "toml",
  toolz = "toolz", torch = "torch", tqdm = "tqdm", transformers = "transformers",
  typing_extensions = "typing-extensions", ujson = "ujson", unidecode = "unidecode",
  urllib3 = "urllib3", usb = "pyusb", uvicorn = "uvicorn", websockets = "websockets",
  xarray = "xarray", xgboost = "xgboost", xlrd = "xlrd", xlsxwriter = "xlsxwriter",
  xmltodict = "xmltodict", yaml = "pyyaml", zmq = "pyzmq", zstandard = "zstandard",
}

--- Likewise, of what lies within a package that is a name for several.
M.known_within = {
  ["google.protobuf"] = "protobuf", ["ruamel.yaml"] = "ruamel-yaml",
  ["google.cloud.storage"] = "google-cloud-storage", ["google.auth"] = "google-auth",
  ["zope.interface"] = "zope-interface", ["azure.core"] = "azure-core",
}

local newline = P"\r\n" + S"\r\n"
local blank = S" \t\f" + P"\\" * newline
local word_byte = R("az", "AZ", "09", "\128\255") + P"_"
local word = word_byte ^ 1

local function keyword(text)
  return P(text) * -word_byte
end

-- In every kind of string, raw ones too, a backslash keeps the next character from ending it.
local escape = P"\\" * P(1) ^ -1

local function string_between(quote, inside)
  return P(quote) * (escape + (inside - P(quote))) ^ 0 * P(quote) ^ -1
end

local any_string = string_between('"""', P(1)) + string_between("'''", P(1))
  + string_between('"', 1 - newline) + string_between("'", 1 - newline)
local comment = P"#" * (1 - newline) ^ 0

local gap = blank ^ 0
local rest_of_path = (gap * P"." * gap * word) ^ 0
local module = C(word * rest_of_path)
local alias = (blank ^ 1 * keyword"as" * blank ^ 1 * word) ^ -1
local plain_import = keyword"import" * blank ^ 1
  * module * alias * (gap * P"," * gap * module * alias) ^ 0
-- What is imported from a package may lie within it: "google", then "google.protobuf".
local inside = (blank + newline + comment) ^ 0
local function names(space)
  return C(word) * alias * (space * P"," * space * C(word) * alias) ^ 0
end
local from_names = gap * P"(" * inside * names(inside) + gap * names(gap)
local from_import = Ct(keyword"from" * blank ^ 1 * module * blank ^ 1 * keyword"import"
  * from_names ^ -1)
-- Its `import` must not be taken for a plain one. Matches once "from ." is seen, whatever follows:
-- a long path that was given up and read again from each of its words would be quadratic.
local relative_import = keyword"from" * gap * P"." * (P"." + blank) ^ 0
  * ((word - keyword"import") * rest_of_path) ^ -1 * (gap * keyword"import") ^ -1

local token = comment + any_string + plain_import + from_import + relative_import + word + P(1)
local imports = Ct(token ^ 0)

-- The attribute that an import of this path stands for, if there is one.
local function attribute_of(path)
  path = path:gsub("[%s\\]", "")
  local two, three = path:match("^[^.]*%.[^.]*"), path:match("^[^.]*%.[^.]*%.[^.]*")
  return three and M.known_within[three] or two and M.known_within[two]
    or M.known[path:match("^[^.]*")]
end

-- The paths of an import: "a.b"; or { "a", "b", "c" } for `from a import b, c`.
local function paths_of(import)
  if type(import) == "string" then return { import } end
  local paths = { import[1] }
  for i = 2, #import do
    paths[i] = import[1] .. "." .. import[i]
  end
  return paths
end

--- The packages that a stage needs.
-- @tparam string code Python; what is no Python gives what can be made of it
-- @treturn table attributes of `python3Packages`, sorted, each once
function M.detect(code)
  local found, list = {}, {}
  for _, import in ipairs(imports:match((code:gsub("^\239\187\191", "")))) do
    for _, path in ipairs(paths_of(import)) do
      local attribute = attribute_of(path)
      if attribute and not found[attribute] then
        found[attribute] = true
        list[#list + 1] = attribute
      end
    end
  end
  table.sort(list)
  return list
end

return M
