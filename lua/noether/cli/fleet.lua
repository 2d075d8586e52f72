-- SPDX-License-Identifier: MIT
--- `noether fleet`: what is in a queue, and what died of it.
local errors = require "noether.error"
local exits = require "noether.cli.exits"
local flags = require "noether.cli.flags"
local queue = require "noether.cli.queue"
local render = require "noether.cli.render"
local status = require "noether.fleet.status"
local values = require "noether.cli.values"

local function with(options, more)
  local list = {}
  for _, part in ipairs{ options, more } do
    for _, option in ipairs(part) do
      list[#list + 1] = option
    end
  end
  return list
end

-- What only looks needs no key.
local UNSIGNED = queue.PLACE

-- Opens the queue, does it, and closes it again.
local function at(context, unsigned, fn)
  if unsigned then context.given.unsigned = true end
  local opts, settings = queue.read(context.given)
  if not opts then return nil, settings end
  local desk, err = status.open(settings)
  if not desk then return nil, err end
  context.own(desk)
  return fn(desk)
end

local function row(worker)
  local state = worker.beats and "lives" or "silent"
  local places = ("%d of %d"):format(worker.running, worker.places)
  return { errors.clean(worker.name, 200), state, places, ("%d done"):format(worker.done),
    ("%d held"):format(worker.held) }
end

local function status_text(found)
  if not found.exists then
    return ("queue %s: there is none yet; a worker makes it\n"):format(found.queue)
  end
  local rows = {}
  for i, worker in ipairs(found.workers) do
    rows[i] = row(worker)
  end
  local lines = {
    ("queue %s: %d waiting, %d running, %d dead\n"):format(found.queue, found.waiting,
      found.running, found.dead),
    ("oldest waiting: %.0f s\n"):format(found.oldest_secs),
    found.durable and "" or "durable: no (appendfsync is not always): the server may forget its "
      .. "last second when it is killed\n",
    ("workers: %d\n"):format(#rows), #rows > 0 and render.columns(rows) or "",
  }
  return table.concat(lines)
end

local status_verb = {
  name = "status", summary = "show how many jobs wait and run, and which workers there are",
  options = with(UNSIGNED, { flags.json }),
  examples = {
    { "noether fleet status --url redis://127.0.0.1:6379", "workers, depth, the oldest" },
  },
}

--- Do it.
function status_verb.run(context)
  return at(context, true, function(desk)
    local found, err = desk:status()
    if not found then return nil, err end
    context.console:answer(context.given.json and render.json(found) or status_text(found))
    return exits.OK
  end)
end

local dead_verb = {
  name = "dead", summary = "list jobs that died, with the reason",
  options = with(UNSIGNED, { flags.json }),
  examples = { { "noether fleet dead --url redis://127.0.0.1:6379", "the oldest first" } },
}

--- Do it.
function dead_verb.run(context)
  return at(context, true, function(desk)
    local letters, err = desk:dead()
    if not letters then return nil, err end
    if context.given.json then
      context.console:answer(#letters > 0 and render.json(letters) or "[]\n")
      return exits.OK
    end
    local rows = {}
    for i, letter in ipairs(letters) do
      rows[i] = { letter.job, os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(letter.at)), letter.worker,
        letter.reason }
    end
    context.console:text(#rows > 0 and render.columns(rows) or "")
    return exits.OK
  end)
end

local JOB = { name = "--job", value = "ID", many = true, about = "of these jobs only" }

local retry_verb = {
  name = "retry", summary = "queue jobs that died again",
  about = "Queue jobs that died again, as new ones that are signed here. Nobody waits for them any "
    .. "more: it is for stages whose effects are wanted.",
  options = with(queue.OPTIONS, {
    JOB, { name = "--ttl", value = "TIME", convert = values.seconds,
      about = "how long they may take (default: 1h)" },
  }),
  examples = {
    { "noether fleet retry --url-file /etc/fleet.url --key-file /etc/fleet.key", "all of them" },
  },
}

--- Do it.
function retry_verb.run(context)
  return at(context, false, function(desk)
    local count, left = desk:again(context.given.job, context.given.ttl or 3600)
    if not count then return nil, left end
    context.console:answer(("%d queued again, %d could not be\n"):format(count, left))
    return left == 0 and exits.OK or exits.FAILED
  end)
end

local purge_verb = {
  name = "purge", summary = "forget jobs that died",
  options = with(UNSIGNED, { JOB }),
  examples = { { "noether fleet purge --url redis://127.0.0.1:6379", "all of them" } },
}

--- Do it.
function purge_verb.run(context)
  return at(context, true, function(desk)
    local count, err = desk:purge(context.given.job)
    if not count then return nil, err end
    context.console:answer(("%d removed\n"):format(count))
    return exits.OK
  end)
end

return {
  name = "fleet", summary = "look at a queue of stages, and at what died in it",
  verbs = { status_verb, dead_verb, retry_verb, purge_verb },
  examples = { { "noether fleet status --url redis://127.0.0.1:6379", "how a queue does" } },
}
