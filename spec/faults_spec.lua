-- SPDX-License-Identifier: MIT
--- The short form of what `make faults` does at length.
local helper = require "spec.support.helper"

local inject = require "spec.faults.inject"

-- Calls that make no request of the system, or whose failure means nothing.
local CANNOT_FAIL = {}
for name in ([[
  assert_fail asprintf errno_location environ exit cxa_finalize gmon_start stack_chk_fail
  clock_gettime closedir dirfd dladdr dlclose dlopen dlsym fclose fflush fprintf fputc fputs free
  fwrite getegid geteuid getpid gmtime_r accept4 inet_pton isatty isoc99_fscanf isoc99_sscanf
  explicit_bzero isoc23_sscanf isoc23_strtol time
  sscanf memchr memcmp memcpy memmem memmove memset munmap printf pthread_setcancelstate
  pthread_sigmask putchar puts qsort rewinddir sched_cpucount sigabbrev_np sigaddset sigemptyset
  nl_langinfo sigfillset sigismember sigpending sigprocmask sigtimedwait snprintf strchr strcmp
  strcpy strcspn strerror strerrordesc_np strerrorname_np strlen strncasecmp strncmp strncpy strnlen
  strpbrk strrchr strspn strstr strtod_l strtol sysconf vsnprintf tls_get_addr
]]):gmatch("[%w_]+") do
  CANNOT_FAIL[name] = true
end

local build = helper.lua:match("^(.*)/bin/[^/]+$")

local function faults(part)
  return helper.shell(("cd %s && tools/test/faults.sh %s short %s"):format(
    helper.quote(helper.root), helper.quote(build), part))
end

describe("a call that fails", function()
  it("is told as what it is, and nothing is left behind", function()
    local output, code = faults "calls"
    assert.equal(0, code, output)
    local tried = tonumber(output:match("(%d+) faults, 0 of them"))
    assert.is_true(tried and tried > (helper.sanitized and 50 or 150), output)
  end)

  -- What is not in the injector's list would never be tried.
  it("can be made of every call of the core, but for those that cannot fail", function()
    local names, missing, count = inject.names(), {}, 0
    local output = helper.shell(("nm -D --undefined-only %s/lib/5.4/noether/core.so"):format(
      helper.quote(build)))
    for name in output:gmatch(" U ([%w_]+)@GLIBC") do
      local plain = name:gsub("^_+", ""):gsub("_chk$", "")
      local known = names[name] or CANNOT_FAIL[plain]
      if not known then missing[#missing + 1] = name end
      count = count + 1
    end
    assert.same({}, missing)
    assert.is_true(count > 50, output)
  end)
end)

describe("memory that runs out in Lua", function()
  it("is an error, and nothing is left behind", function()
    local output, code = faults "memory"
    assert.equal(0, code, output)
    assert.is_true(tonumber(output:match("(%d+) faults, 0 of them")) > 40, output)
  end)
end)

describe("a host that is killed", function()
  it("takes all that it started with it, and leaves a good cache", function()
    local output, code = faults "killed"
    assert.equal(0, code, output)
    assert.truthy(output:find(" 0 processes lived on, 0 directories", 1, true), output)
  end)
end)
