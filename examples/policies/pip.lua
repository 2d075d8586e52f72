-- SPDX-License-Identifier: MIT
-- What an organisation lets stages install: names, or names and versions, and nothing else.
return {
  allow = { "six", "numpy==1.26.4", "python-dateutil" },
  deny = { "six==1.15.0" }, -- a version that bit us
}
