-- SPDX-License-Identifier: MIT
---@meta noether
-- Types for the Lua language server. spec/types_spec.lua compares this file with the loaded modules,
-- in both directions.

---@class noether
---@field version string version of the library
---@field null lightuserdata JSON null, equal to cjson.null
local noether = {}

---@alias noether.Isolation
---| "auto" # the first backend that really works here; refuses where none does
---| "native"
---| "bwrap"
---| "landlock"
---| "none" # no isolation at all

---@alias noether.Reason
---| "exit"
---| "signal"
---| "timeout"
---| "output_limit"
---| "memory_limit"
---| "cpu_limit"
---| "cancelled"
---| "status_lost"
---| "stream_failed"

---@alias noether.Kind
---| "stage_not_found" # caller
---| "input_invalid" # caller
---| "language_unknown" # caller
---| "closed" # caller
---| "pending" # caller
---| "package_rejected" # host or policy
---| "packages_failed" # host or policy
---| "runtime_unavailable" # host or policy
---| "setup_timed_out" # host or policy
---| "isolation_unavailable" # host or policy
---| "store_failed" # host or policy
---| "cache_failed" # host or policy
---| "policy_error" # host or policy
---| "spawn_failed" # the library
---| "sandbox_failed" # the library
---| "timed_out" # the run
---| "output_limit" # the run
---| "memory_limit" # the run
---| "cpu_limit" # the run
---| "cancelled" # the run
---| "budget_exceeded" # the run
---| "stage_failed" # the stage
---| "output_invalid" # the stage
---| "effect_denied" # the stage

---@class noether.Error
---@field kind noether.Kind what to branch on
---@field message string one line, also what tostring gives
---@field hint? string what to do
---@field stage? string id of the stage
---@field errno? string "ENOENT"
---@field limit? number the limit that was met
---@field effect? string "FsRead(/data)"
---@field result? noether.Result of the process, if one ran
---@field cause? noether.Error|string
local Error = {}

---Plain data that JSON can hold.
---@return table
function Error:to_table() end

---@class noether.Result
---@field ok boolean exit with code 0
---@field reason noether.Reason the first cause of its end
---@field exit_code? integer
---@field signal? string "SIGSEGV"
---@field stdout string
---@field stderr string
---@field stdout_bytes integer how many were written
---@field stderr_bytes integer how many were written
---@field stdout_truncated boolean
---@field stderr_truncated boolean
---@field duration_secs number
---@field cpu_user_secs number
---@field cpu_system_secs number
---@field max_rss_bytes? integer
---@field failed_stream? "stdin"|"stdout"|"stderr" for the reason "stream_failed"
---@field errno? string "ENOSPC"; likewise
---@field isolation noether.Isolation
---@field enforced string[]
---@field argv string[]

---@class noether.Runtime
---@field kind string "host", "nix", "inline"
---@field language? string
---@field path? string
---@field version? string
---@field reference? string
---@field store_path? string of nix
---@field packages? string[] what nix brings beside the interpreter
---@field nix? string nix's version

---@class noether.Progress
---@field language string
---@field state "locking"|"building"|"repairing"|"checking"|"ready"|"failed"
---@field detail? string what it is about
---@field done integer how many languages are over
---@field total integer

---@class noether.WarmupOptions
---@field setup_timeout_secs? number of each language (the executor's)
---@field on_progress? fun(event: noether.Progress)

---@class noether.Provenance
---@field stage? string id
---@field code string SHA-256 of the code
---@field script string SHA-256 of names and texts of the wrapped files
---@field input string SHA-256 of standard input
---@field runtime string SHA-256 of reference and version

---@class noether.Span
---@field name string "wrap", "resolve", "set-up", "run", "decode", "wait"
---@field start_secs number after the beginning
---@field duration_secs number

---@class noether.Attempt
---@field duration_secs number
---@field kind? noether.Kind of one that failed
---@field message? string of one that failed
---@field errno? string of one that failed
---@field wait_secs? number how long it slept after it

---@class noether.Info
---@field logs string what the stage printed
---@field started_secs number when, on the monotonic clock
---@field duration_secs number
---@field phases table<string, number> seconds spent in each state
---@field spans noether.Span[] what was done when, in its order
---@field limits? table<string, number> the limits of the run
---@field runtime? noether.Runtime
---@field provenance? noether.Provenance
---@field isolation? noether.Isolation
---@field enforced? string[]
---@field cached boolean whether the answer was kept from an earlier run
---@field attempts? noether.Attempt[] of noether.retry
---@field warnings string[]
---@field result? noether.Result

---@class noether.Stage
---@field language string
---@field code string
---@field effects? (string|table)[] nil: Unknown
---@field name? string an alias of its id

---@class noether.Limits
---@field memory_bytes? number of the whole tree
---@field cpu_secs? number of the whole tree
---@field processes? number
---@field open_files? number of each process
---@field file_bytes? number of each file
---@field private_bytes? number of the private directories together (with bwrap: of each)
---@field private_files? number in the private directories together

---@class noether.Grants
---@field paths? string[] what policies may bind read-write without an effect
---@field network? boolean whether policies may open the network without an effect

---@class noether.CallOptions
---@field timeout_secs? number the run's deadline (30)
---@field setup_timeout_secs? number the deadline of what comes before the run (300)
---@field max_output_bytes? number more than this ends the run (10 MiB)
---@field max_stderr_bytes? number more than this loses its middle (64 KiB)
---@field limits? noether.Limits
---@field env? table<string, string> variables to add
---@field work_dir? string a directory that is the stage's working directory
---@field on_log? fun(line: string)

---@class noether.ExecutorOptions
---@field store? noether.Store (NOETHER_STORE, else in memory)
---@field timeout_secs? number (30)
---@field setup_timeout_secs? number (300)
---@field max_output_bytes? number (10 MiB)
---@field max_stderr_bytes? number (64 KiB)
---@field limits? noether.Limits
---@field env? table<string, string>
---@field isolation? noether.Isolation ("auto")
---@field require_isolation? boolean refuse "none" (NOETHER_REQUIRE_ISOLATION)
---@field allow_effects? (string|table)[] refuse stages that declare more
---@field grants? noether.Grants
---@field runtime? "auto"|"host"|"nix" (NOETHER_RUNTIME, else "auto")
---@field nixpkgs? string a flake reference that the nix runtime takes (the registry's nixpkgs)
---@field lock_file? string where the nix runtime keeps what it resolved (in the cache)
---@field launch? "direct"|"run" "run": every call is a `nix run`, without isolation ("direct")
---@field cache_dir? string (NOETHER_CACHE_DIR, else the user's cache)
---@field policy? table fields of policies to replace, by module
---@field policy_path? string directories of policy files, separated by ":"
---@field allow_unpinned_pip? boolean (NOETHER_ALLOW_UNPINNED_PIP)
---@field legacy_input? boolean Python: decode a string that is JSON once more, null is {}
---@field log? fun(level: string, message: string, fields: table)
---@field log_level? "debug"|"info"|"warn"|"error" (NOETHER_LOG_LEVEL, else "info")

---@class noether.ExecuteRequest: noether.Stage, noether.CallOptions
---@field input? any
---@field isolation? noether.Isolation
---@field runtime? "auto"|"host"|"nix"

---@class noether.Config
---@field timeout_secs? number
---@field max_output_bytes? number
---@field max_stderr_bytes? number
---@field isolation? noether.Isolation

---@class noether.RetryOptions
---@field attempts? integer how many at most, the first included (3)
---@field kinds? noether.Kind[] what to try again at
---@field backoff_secs? number before the second attempt; doubled before each further one (0.1)
---@field max_backoff_secs? number (30)
---@field repeat_effects? boolean also where a stage with lasting effects had begun (false)

---@class noether.BudgetOptions
---@field cents number what may be spent

---@class noether.CacheOptions
---@field entries? number the most answers that are kept (1000)
---@field bytes? number the most that is kept (64 MiB)
---@field dir? string a directory of its own for answers that outlive the process
---@field ttl_secs? number how long an answer is good for

---@class noether.MapOptions: noether.CallOptions
---@field jobs? integer how many at once (the processors)
---@field on_record? fun(index: integer, record: noether.Record) called with each as it comes
---@field on_progress? fun(done: integer, total?: integer)
---@field on_error? "continue"|"stop" "stop": the first error cancels the rest ("continue")
---@field trace? string an HTML page to write

---@class noether.PlanOptions: noether.CallOptions
---@field resolve? boolean false: touch no disk

---@class noether.Plan
---@field kind "exec"
---@field argv string[]
---@field files table<string, string>
---@field sandbox table
---@field limits table<string, number>
---@field stdin string
---@field env table<string, string>
---@field secrets string[] names of the caller's variables
---@field runtime noether.Runtime
---@field work_dir? string

---@class noether.Record
---@field output any
---@field err? noether.Error
---@field info? noether.Info

---@class noether.Stream either `path` or `fd`
---@field path? string a file: read; or made or emptied, and written
---@field fd? integer a descriptor of the caller's
---@field share? boolean the program gets the descriptor itself

---@class noether.RunOptions
---@field env? table<string, string>
---@field clear_env? boolean
---@field cwd? string
---@field stdin? string|noether.Stream|fun(): string?
---@field stdout? noether.Stream
---@field stderr? noether.Stream
---@field on_stdout? fun(piece: string)
---@field on_stderr? fun(piece: string)
---@field timeout_secs? number
---@field max_output_bytes? number
---@field max_stderr_bytes? number
---@field supervise? boolean
---@field isolation? noether.Isolation
---@field require_isolation? boolean
---@field sandbox? table
---@field limits? noether.Limits

---@class noether.DoctorOptions
---@field cache_dir? string
---@field timeout_secs? number what programs that are tried may take, all together (1.5)

---@class noether.Finding
---@field name string "user_namespaces"
---@field title string "user namespaces"
---@field status "ok"|"warn"|"missing"
---@field found string what is there
---@field meaning? string what that means for stages
---@field hint? string what to do

---@class noether.Report plain data; text for people by tostring
---@field version string
---@field ok boolean whether stages can be run, isolated
---@field auto? noether.Isolation what "auto" takes; nil: it refuses
---@field checks noether.Finding[]
---@field kernel table release, machine
---@field user_namespaces table max, unprivileged_clone, apparmor_restricts, root
---@field proc table covered (paths)
---@field landlock table abi, disabled
---@field seccomp table filter, notification
---@field cgroups table version, controllers (version and usable, by name)
---@field supervisor table works, reason, errno, hint, memfd_noexec
---@field nix table installed, path, version, store, in_use, usable; reason, hint
---@field cache table dir, source, usable, reason
---@field environment table<string, string> NOETHER_ variables that are set
---@field interpreters table<string, table> found, path, version, warnings; reason, hint
---@field backends table<string, table> name, works, enforced, warnings; reason, step, errno

---@class noether.Task
local Task = {}

---@param secs? number
---@return any output
---@return noether.Error? err
---@return noether.Info? info
function Task:wait(secs) end

---@return boolean
function Task:step() end

---@return boolean
function Task:cancel() end

---@return boolean
function Task:close() end

---@return "prepare"|"setup"|"run"|"decode"|"wait"|"done"|"closed"
function Task:state() end

---@return integer? fd
---@return noether.Error? err
function Task:pollfd() end

---@return "r"
function Task:events() end

---@return number? secs
function Task:timeout() end

---@class noether.Process
local Process = {}

---@param secs? number
---@return noether.Result?
---@return noether.Error?
function Process:wait(secs) end

---@return noether.Result?
---@return noether.Error?
function Process:result() end

---@return boolean
function Process:step() end

---@param signal? string|integer
---@return boolean?
---@return noether.Error?
function Process:kill(signal) end

---@return boolean
function Process:cancel() end

---@return boolean
function Process:close() end

---@return integer?
function Process:pid() end

---What the steps to a native sandbox took; empty for other backends, or before the program runs.
---@return { name: string, secs: number }[]
function Process:setup_steps() end

---@return integer?
function Process:pollfd() end

---@return "r"
function Process:events() end

---@return number?
function Process:timeout() end

---Handles that are waited for together: noether.set().
---@class noether.Set
local Set = {}

---@generic T: noether.Process|noether.Task
---@param handle T
---@return T?
---@return noether.Error? err
function Set:add(handle) end

---@param handle noether.Process|noether.Task
---@return boolean
function Set:remove(handle) end

---@param secs? number 0 never blocks
---@return noether.Process|noether.Task|nil handle one that is over; nil alone: the set is empty
---@return noether.Error? err
function Set:next(secs) end

---@return integer
function Set:count() end

---@return integer? fd
---@return noether.Error? err
function Set:pollfd() end

---@return "r"
function Set:events() end

---@return number? secs
function Set:timeout() end

---@return boolean
function Set:close() end

---@class noether.Store
local Store = {}

---@param stage noether.Stage
---@return string? id
---@return noether.Error? err
function Store:put(stage) end

---@param id_or_name string
---@return noether.Stage?
---@return noether.Error? err
function Store:get(id_or_name) end

---@return table[]? stages without their code; damaged ones as { id, err }
---@return noether.Error? err
function Store:list() end

---@param id_or_name string
---@return boolean?
---@return noether.Error? err
function Store:remove(id_or_name) end

---What every executor has: noether.executor, noether.inline, noether.composite, noether.retry,
---noether.budget, noether.cache.
---@class noether.AnyExecutor
local AnyExecutor = {}

---@param id string
---@param input any
---@param opts? noether.CallOptions
---@return any output
---@return noether.Error? err
---@return noether.Info? info
function AnyExecutor:execute(id, input, opts) end

---@param id string
---@param text string|{ path: string }|fun(): string?
---@param opts? noether.CallOptions
---@return string? text
---@return noether.Error? err
---@return noether.Info? info
function AnyExecutor:execute_json(id, text, opts) end

---@param id string
---@param input any
---@param opts? noether.CallOptions
---@return noether.Task?
---@return noether.Error? err
function AnyExecutor:start(id, input, opts) end

---@param id string
---@param inputs any[]|fun(): any a list, or what gives the next input, and nil after the last
---@param opts? noether.MapOptions
---@return noether.Record[]?
---@return noether.Error? err
function AnyExecutor:map(id, inputs, opts) end

---`for index, record in executor:each(id, inputs) do`: records as they come.
---@param id string
---@param inputs any[]|fun(): any
---@param opts? noether.MapOptions
---@return (fun(): integer?, noether.Record?)? records has close(), too
---@return noether.Error? err
function AnyExecutor:each(id, inputs, opts) end

---@param id string
---@param input any
---@param opts? noether.PlanOptions
---@return noether.Plan?
---@return noether.Error? err
function AnyExecutor:plan(id, input, opts) end

---@param id string
---@return boolean
function AnyExecutor:has_implementation(id) end

---@return boolean
function AnyExecutor:close() end

---@class noether.Executor: noether.AnyExecutor
local Executor = {}

---@param id string
---@param code string
---@param language string
---@param effects? (string|table)[]
---@return boolean?
---@return noether.Error? err
function Executor:register_with_effects(id, code, language, effects) end

---@return noether.Config
function Executor:config_snapshot() end

---@param config noether.Config
---@return noether.Executor?
---@return noether.Error? err
function Executor:rebuild_with_config(config) end

---@param languages? string[]
---@param opts? noether.WarmupOptions
---@return noether.Task?
---@return noether.Error? err
function Executor:warmup(languages, opts) end

---@param request noether.ExecuteRequest
---@return any output
---@return noether.Error? err
---@return noether.Info? info
function noether.execute(request) end

---@param opts? noether.ExecutorOptions
---@return noether.Executor?
---@return noether.Error? err
function noether.executor(opts) end

---@param functions table<string, fun(input: any): any, string?>
---@return noether.AnyExecutor
function noether.inline(functions) end

---@param executors noether.AnyExecutor[]
---@return noether.AnyExecutor
function noether.composite(executors) end

---@class noether.Budget: noether.AnyExecutor
local Budget = {}

---@return number cents
function Budget:spent() end

---@return number cents
function Budget:left() end

---@class noether.Cache: noether.AnyExecutor
local Cache = {}

---Forget all answers.
---@return boolean?
---@return noether.Error? err
function Cache:clear() end

---@param executor noether.AnyExecutor
---@param opts? noether.RetryOptions
---@return noether.AnyExecutor
function noether.retry(executor, opts) end

---@param executor noether.AnyExecutor
---@param opts noether.BudgetOptions
---@return noether.Budget
function noether.budget(executor, opts) end

---@param executor noether.AnyExecutor
---@param opts? noether.CacheOptions
---@return noether.Cache?
---@return noether.Error? err
function noether.cache(executor, opts) end

---@param argv string[]
---@param opts? noether.RunOptions
---@return noether.Result?
---@return noether.Error? err
function noether.run(argv, opts) end

---@param argv string[]
---@param opts? noether.RunOptions
---@return noether.Process?
---@return noether.Error? err
function noether.spawn(argv, opts) end

---@param list (noether.Process|noether.Task)[]
---@param secs? number
---@return integer? position
---@return noether.Error? err
function noether.wait_any(list, secs) end

---@return noether.Set?
---@return noether.Error? err
function noether.set() end

---@return number secs on the monotonic clock
function noether.clock() end

---@param bytes string
---@return string hex
function noether.sha256(bytes) end

---@generic T: table
---@param t? T
---@return T
function noether.array(t) end

---@param value any
---@param depth? integer
---@return string
function noether.inspect(value, depth) end

---@param opts? noether.DoctorOptions
---@return noether.Report
function noether.doctor(opts) end

---@param value any
---@return boolean
function noether.is_error(value) end

---@param output any
---@param err any
---@return any output
function noether.check(output, err, ...) end

noether.trace = {}

---@param records noether.Record[]
---@param opts? { title?: string }
---@return string html
function noether.trace.page(records, opts) end

---@param path string
---@param records noether.Record[]
---@param opts? { title?: string }
---@return boolean?
---@return noether.Error? err
function noether.trace.write(path, records, opts) end

noether.store = {}

---@return noether.Store
function noether.store.memory() end

---@param dir string
---@return noether.Store?
---@return noether.Error? err
function noether.store.open(dir) end

return noether
