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
  Crypto = "pycryptodome", OpenSSL = "pyopenssl", PIL = "pillow", aiohttp = "aiohttp",
  arrow = "arrow", attr = "attrs", attrs = "attrs", boto3 = "boto3", botocore = "botocore",
  bs4 = "beautifulsoup4", celery = "celery", certifi = "certifi", chardet = "chardet",
  click = "click", cryptography = "cryptography", cv2 = "opencv4", datasets = "datasets",
  dateutil = "python-dateutil", defusedxml = "defusedxml", django = "django",
  docx = "python-docx", dotenv = "python-dotenv", duckdb = "duckdb", fastapi = "fastapi",
  feedparser = "feedparser", flask = "flask", git = "gitpython", h5py = "h5py",
  html5lib = "html5lib", httpx = "httpx", humanize = "humanize", imageio = "imageio",
  jinja2 = "jinja2", joblib = "joblib", jsonschema = "jsonschema", jwt = "pyjwt",
  lightgbm = "lightgbm", lxml = "lxml", magic = "python-magic", markdown = "markdown",
  markupsafe = "markupsafe", matplotlib = "matplotlib", more_itertools = "more-itertools",
  msgpack = "msgpack", nacl = "pynacl", networkx = "networkx", nltk = "nltk", numba = "numba",
  numpy = "numpy", openai = "openai", openpyxl = "openpyxl", orjson = "orjson",
  packaging = "packaging", pandas = "pandas", paramiko = "paramiko", pendulum = "pendulum",
  plotly = "plotly", polars = "polars", psutil = "psutil", psycopg2 = "psycopg2",
  pyarrow = "pyarrow", pydantic = "pydantic", pygments = "pygments", pymongo = "pymongo",
  pypdf = "pypdf", pytest = "pytest", pytz = "pytz", redis = "redis", regex = "regex",
  requests = "requests", rich = "rich", scipy = "scipy", seaborn = "seaborn",
  serial = "pyserial", setuptools = "setuptools", shapely = "shapely", six = "six",
  skimage = "scikit-image", sklearn = "scikit-learn", sortedcontainers = "sortedcontainers",
  spacy = "spacy", sqlalchemy = "sqlalchemy", starlette = "starlette",
  statsmodels = "statsmodels", sympy = "sympy", tabulate = "tabulate", tenacity = "tenacity",
  tiktoken = "tiktoken", toml = "toml", toolz = "toolz", torch = "torch", tqdm = "tqdm",
  transformers = "transformers", typing_extensions = "typing-extensions", urllib3 = "urllib3",
  uvicorn = "uvicorn", websockets = "websockets", xarray = "xarray", xgboost = "xgboost",
  xmltodict = "xmltodict", yaml = "pyyaml", zmq = "pyzmq",
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
local module = C(word) * rest_of_path
local alias = (blank ^ 1 * keyword"as" * blank ^ 1 * word) ^ -1
local plain_import = keyword"import" * blank ^ 1
  * module * alias * (gap * P"," * gap * module * alias) ^ 0
local from_import = keyword"from" * blank ^ 1 * module * blank ^ 1 * keyword"import"
-- Its `import` must not be taken for a plain one. Matches once "from ." is seen, whatever follows:
-- a long path that was given up and read again from each of its words would be quadratic.
local relative_import = keyword"from" * gap * P"." * (P"." + blank) ^ 0
  * ((word - keyword"import") * rest_of_path) ^ -1 * (gap * keyword"import") ^ -1

local token = comment + any_string + plain_import + from_import + relative_import + word + P(1)
local imports = Ct(token ^ 0)

--- The packages that a stage needs.
-- @tparam string code Python; what is no Python gives what can be made of it
-- @treturn table attributes of `python3Packages`, sorted, each once
function M.detect(code)
  local found, names = {}, {}
  for _, name in ipairs(imports:match(code)) do
    local attribute = M.known[name]
    if attribute and not found[attribute] then
      found[attribute] = true
      names[#names + 1] = attribute
    end
  end
  table.sort(names)
  return names
end

return M
