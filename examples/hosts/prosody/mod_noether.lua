-- SPDX-License-Identifier: MIT
-- A component of Prosody: a message to bash@, python@ or javascript@ is a stage's code, which runs
-- sandboxed; the answer comes back as a message. Only those in `noether_users` may ask.
local jid = require "util.jid"
local noether = require "noether"
local server = require "net.server"
local st = require "util.stanza"

local AT_ONCE = 4

local users = module:get_option_set("noether_users", {})
local executor = noether.check(noether.executor{ timeout_secs = 10, allow_effects = { "Process" } })
local set = noether.check(noether.set())
local asked = {} -- by task: the message that it answers

-- What takes a moment: finding out which sandbox works here, before anybody waits.
do
  local _, err, info = executor:execute({ language = "bash", code = "execute() { echo 1; }" })
  module:log("info", "sandbox: %s", err and tostring(err) or info.isolation)
end

local function answer(stanza, text)
  module:send(st.reply(stanza):body(text))
end

-- The set's descriptor says when there is something to do, deadlines included.
local watch = server.watchfd(set:pollfd(), function()
  local task = set:next(0)
  while task do
    local output, err, info = task:wait(0)
    local result = err and tostring(err) or noether.inspect(output)
    answer(asked[task], ("%s (%s)"):format(result, info and info.isolation or "nothing ran"))
    asked[task] = nil
    task:close()
    task = set:next(0)
  end
end)

local function refuse(stanza, kind, condition, text)
  module:send(st.error_reply(stanza, kind, condition, text))
  return true
end

local function handle(event)
  local stanza = event.stanza
  local code = stanza:get_child_text("body")
  if not code or stanza.attr.type == "error" then return true end
  if not users:contains(jid.bare(stanza.attr.from)) then
    return refuse(stanza, "auth", "forbidden", "you are not among noether_users")
  end
  if set:count() >= AT_ONCE then
    return refuse(stanza, "wait", "resource-constraint", "too many stages run")
  end
  local language = jid.node(stanza.attr.to)
  local stage = { language = language, code = code, effects = { "Process" } }
  local task, err = executor:start(stage)
  if not task then
    answer(stanza, tostring(err))
  else
    asked[noether.check(set:add(task))] = stanza
  end
  return true
end

module:hook("message/bare", handle)

function module.unload()
  watch:close() -- before the set closes its descriptor
  set:close()
  executor:close()
end
