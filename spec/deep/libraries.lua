-- SPDX-License-Identifier: MIT
-- Python's libraries as Debian packages them, which look for configuration of the machine's when
-- they are loaded: each loads, and does a little, without an effect. (In `make check-deep`.)
require "spec.support.helper"
local noether = require "noether"

local LIBRARIES = {
  { "numpy", "int(numpy.arange(4).sum())", 6 },
  { "pandas", "int(pandas.DataFrame({'a': [1, 2]})['a'].sum())", 3 },
  { "pandas", "str(pandas.Timestamp('2024-07-01', tz='Europe/Berlin').utcoffset())", "2:00:00" },
  { "matplotlib", "isinstance(matplotlib.rcParams['font.size'], float)", true },
  { "matplotlib.pyplot", "matplotlib.pyplot.plot([1, 2]) and matplotlib.pyplot.savefig('x.png')"
    .. " or open('x.png', 'rb').read(4).hex()", "89504e47" },
  { "PIL.Image", "PIL.Image.new('RGB', (2, 3)).size[1]", 3 },
  { "requests", "requests.Request('GET', 'http://a/b').prepare().path_url", "/b" },
  { "lxml.etree", "lxml.etree.fromstring('<a><b/></a>')[0].tag", "b" },
  { "yaml", "yaml.safe_load('a: [1]')['a'][0]", 1 },
  { "mimetypes", "mimetypes.guess_type('a.html')[0]", "text/html" },
  { "ssl", "len(ssl.create_default_context().get_ciphers()) > 0", true },
  { "sqlite3", "sqlite3.connect(':memory:').execute('select 1').fetchone()[0]", 1 },
  { "zoneinfo", "zoneinfo.ZoneInfo('Europe/Berlin').key", "Europe/Berlin" },
}

-- What looks for configuration in its own way, and needs to be started.
local PROGRAMS = {
  { "R --vanilla -s -e 'cat(sum(1, 2))'", 3 },
  { "perl -MJSON::PP -e 'print encode_json([1])'", { 1 } },
  { "php -r 'echo json_encode(date_default_timezone_get() != \"\");'", true },
  { "ruby -rjson -e 'print [1].to_json'", { 1 } }, { "fc-match -f '\"%{slant}\"'", "0" },
}

for _, backend in ipairs{ "native", "bwrap", "landlock" } do
  describe("the machine's libraries under " .. backend, function()
    local executor
    setup(function()
      executor = noether.check(noether.executor{ isolation = backend, timeout_secs = 120 })
    end)
    teardown(function() executor:close() end)

    for _, case in ipairs(LIBRARIES) do
      it("hold " .. case[1] .. ": " .. case[2], function()
        local code = ("import %s\ndef execute(i): return %s"):format(case[1], case[2])
        if case[1]:find("^matplotlib") then
          code = "import matplotlib\nmatplotlib.use('Agg')\n" .. code
        end
        local output, err = executor:execute({ language = "python", code = code, effects = {} }, 1)
        assert.is_nil(err, tostring(err))
        assert.same(case[3], output)
      end)
    end

    for _, case in ipairs(PROGRAMS) do
      it("hold what this needs: " .. case[1], function()
        local output, err, info = executor:execute({
          language = "bash", effects = { "Process" }, code = "execute() { " .. case[1] .. "; }",
        }, 1)
        assert.is_nil(err, tostring(err) .. info.logs)
        assert.same(case[2], output)
      end)
    end
  end)
end
