-- SPDX-License-Identifier: MIT
-- Stages in Ruby: a method execute(input). What it prints is its log.
local RUNNER = [[
require 'json'
answer = $stdout.dup
answer.sync = true
$stdout.reopen($stderr)
status = 0
begin
  input = JSON.parse($stdin.read)
  load File.join(__dir__, 'stage.rb')
  text = JSON.generate(execute(input))
rescue Exception => error
  line = (error.backtrace_locations || []).find { |at| at.path.end_with?('/stage.rb') }&.lineno
  line ||= error.message[/stage\.rb:(\d+)/, 1]&.to_i
  report = { type: error.class.name, message: error.message.scrub,
             traceback: error.full_message(highlight: false).scrub }
  report[:line] = line if line
  text = JSON.generate({ error: report })
  status = 1
end
answer.puts(text)
exit!(status)
]]

return {
  names = { "ruby", "rb" }, extension = "rb",
  runtime = {
    programs = { "ruby" },
    probe = { "-rjson", "-rrbconfig", "-e",
      "puts JSON.generate({ path: File.realpath(RbConfig.ruby), version: RUBY_VERSION, dirs: "
        .. "[RbConfig::CONFIG['rubylibdir'], RbConfig::CONFIG['rubyarchdir']] })" },
  },
  wrap = function(code)
    return { entry = "runner.rb", files = { ["stage.rb"] = code, ["runner.rb"] = RUNNER } }
  end,
  argv = function(runtime, entry) return { runtime.path, entry } end,
}
