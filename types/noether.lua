-- SPDX-License-Identifier: MIT
---@meta noether
-- Types for the Lua language server. Generated from the sources' doc comments: `make types`.

---@alias noether.Isolation
---| "auto"
---| "native"
---| "bwrap"
---| "landlock"
---| "none"

---@alias noether.Kind
---| "stage_not_found" # caller
---| "input_invalid" # caller
---| "language_unknown" # caller
---| "replay_diverged" # caller
---| "session_busy" # caller
---| "queue_full" # caller
---| "closed" # caller
---| "pending" # caller
---| "package_rejected" # host
---| "packages_failed" # host
---| "runtime_unavailable" # host
---| "setup_timed_out" # host
---| "isolation_unavailable" # host
---| "store_failed" # host
---| "cache_failed" # host
---| "policy_error" # host
---| "queue_unavailable" # host
---| "spawn_failed" # us
---| "sandbox_failed" # us
---| "timed_out" # run
---| "output_limit" # run
---| "memory_limit" # run
---| "cpu_limit" # run
---| "call_limit" # run
---| "output_files_limit" # run
---| "session_lost" # run
---| "job_expired" # run
---| "job_dead" # run
---| "cancelled" # run
---| "budget_exceeded" # run
---| "stage_failed" # stage
---| "output_invalid" # stage
---| "output_missing" # stage
---| "effect_denied" # stage

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

---A host and port about which `on_network` was asked.
---@class noether.AskedHost
---@field host string
---@field port integer
---@field allowed boolean

---One of the attempts of `noether.retry`.
---@class noether.Attempt
---@field duration_secs number
---@field kind? noether.Kind of one that failed
---@field message? string of one that failed
---@field errno? string of one that failed
---@field wait_secs? number how long it slept after it

---Options of `noether.budget`.
---@class noether.BudgetOptions
---@field cents? number what may be spent (none: give it)

---Options of `noether.cache`.
---@class noether.CacheOptions
---@field bytes? number how much is kept (64 MiB)
---@field dir? string a directory of its own, for answers that outlive the process (none: in memory)
---@field entries? number how many answers are kept (1000)
---@field ttl_secs? number how long an answer is good for (none)

---A call that has been made, as a function gets it: its second argument. It also has `name`, and
---`cancelled`, which is true once the run that made it is over.
---@class noether.Call
---@field name string
---@field cancelled? boolean

---What a run has noted of a call.
---@class noether.CallEntry
---@field name string
---@field args any what it was called with; of more than 1 KiB the first part of its JSON
---@field args_sha256 string of the canonical JSON
---@field args_bytes integer of that
---@field result_bytes? integer
---@field result? any with the option `journal`
---@field error? table `{ kind, message }`, as the stage was told
---@field refused? boolean it was not made
---@field cancelled? boolean the run was over before there was an answer
---@field truncated? boolean the journal had no room for it (`limits.journal_bytes`)
---@field started_secs number after the run began
---@field duration_secs number

---Options of one call.
---@class noether.CallOptions
---@field env? table<string, string> variables to add, by name; a plan shows their names only (none)
---@field files? {[string]: string|{path: string}} files that the stage finds in its working directory, by name: text, or { path = "..." }: [files.md](files.md) (none)
---@field functions? table functions of this program that the stage may call, by name: [functions.md](functions.md) (none)
---@field journal? boolean keep arguments and results of calls whole in info.calls (false)
---@field learn? any run it with nothing open, and tell in info.learned what it lacked; or a list of effects to open, of those that it declares: [network.md](network.md#what-a-stage-needs) (false)
---@field limits? noether.Limits what the process tree may use (see below)
---@field lock? string the text of a lock of the packages that the stage names, which pins them by hash: [runtimes.md](runtimes.md#locks) (none)
---@field max_output_bytes? number more output than this ends the run (output_limit) (10 MiB)
---@field max_stderr_bytes? number of a longer log the middle is left out (64 KiB)
---@field on_call? function a function, called with what the journal has of each call when it is over (none)
---@field on_leftover_threads? "wait"|"end" Python: what becomes of threads that execute leaves running: "wait" for them, until the deadline; or "end" them with the process, as the log then says, and take the answer ("wait")
---@field on_log? fun(line: string) a function, called with each line of the log as it comes (none)
---@field on_network? fun(host: string, port: integer): boolean? a function (host, port), asked about hosts that no entry of the stage's list names but "?:port"; true lets it connect: [network.md](network.md#hosts-that-are-asked-about) (none)
---@field output_dir? string a directory to put them in, rather than their contents into info.outputs (none)
---@field output_overwrite? boolean replace files that are there already (false)
---@field outputs? string[] names and patterns of the files to collect when it has ended, into info.outputs (none)
---@field packages? string[] packages for the stage, in the place of those that its code names: [runtimes.md](runtimes.md#packages) (none)
---@field replay? any an info.calls of such a run (or its JSON): its results are given again, and no function is called (none)
---@field setup_timeout_secs? number deadline of what comes before the run (finding or building an interpreter) (300 s)
---@field timeout_secs? number deadline of the run; at it the whole process tree is killed (30 s)
---@field warm? any this call takes nothing that was kept ready; true or a table: [warm.md](warm.md) (the executor's)
---@field work_dir? string a directory of yours, read-write, as the stage's working directory (private, empty)

---Options of one cell.
---@class noether.CellOptions
---@field cpu_secs? number processor time; more ends the session (limits.cpu_secs of the session)
---@field display? boolean info.display for every value (false)
---@field on_call? function called with each call of a function, when it is over (that of the session)
---@field on_log? fun(line: string) called with each line that it prints (that of the session)
---@field outputs? string[] names and patterns of files to collect after it, as of a call (none)
---@field timeout_secs? number its deadline (that of the session)

---The options that `config_snapshot` gives.
---@class noether.Config
---@field isolation? noether.Isolation "auto", "native", "bwrap", "landlock" or "none" ("auto")
---@field max_output_bytes? number more output than this ends the run (output_limit) (10 MiB)
---@field max_stderr_bytes? number of a longer log the middle is left out (64 KiB)
---@field timeout_secs? number deadline of the run; at it the whole process tree is killed (30 s)

---Options of `noether.doctor`.
---@class noether.DoctorOptions
---@field cache_dir? string as of an executor
---@field timeout_secs? number what each program that is tried may take (5); twice that at the second try

---What `noether.execute` takes: a stage, its input, options.
---@class noether.ExecuteRequest: noether.Stage, noether.CallOptions
---@field input? any any JSON value (nil is null)
---@field isolation? noether.Isolation as of an executor
---@field runtime? "auto"|"host"|"nix" as of an executor

---Options of an executor.
---@class noether.ExecutorOptions
---@field allow_effects? (string|table)[] refuse stages that declare more, before anything runs (all)
---@field allow_unpinned_pip? boolean accept # requires: name without a version (false)
---@field big_integers? "exact"|"string" "string": integers of an answer that a double cannot hold (beyond 2^53) come as text, in every Lua ("exact")
---@field cache_dir? string where wrapped scripts and installed packages are kept (the user's cache)
---@field env? table<string, string> variables to add, by name; a plan shows their names only (none)
---@field functions? table functions of this program that the stage may call, by name: [functions.md](functions.md) (none)
---@field grants? {hosts: string[], network: boolean, paths: string[]} what policies may open without an effect: { paths = {...}, network = true, hosts = {...} } (none)
---@field isolation? noether.Isolation "auto", "native", "bwrap", "landlock" or "none" ("auto")
---@field journal? boolean keep arguments and results of calls whole in info.calls (false)
---@field launch? "direct"|"run" "run": every call is a nix run; only with isolation "none" ("direct")
---@field launcher? boolean supervisors stand by for the next runs, and a run starts none of its own: [isolation.md](isolation.md#the-launcher) (false)
---@field legacy_input? boolean Python: a string input that is JSON is decoded once more, null is {} (false)
---@field limits? noether.Limits what the process tree may use (as above)
---@field lock_file? string where the nix runtime keeps what it resolved; a file to commit (in the cache)
---@field log? fun(level: string, message: string, fields: table) a function (level, message, fields) for what the library has to say (none)
---@field log_level? "debug"|"info"|"warn"|"error" least level that log gets: "debug", "info", "warn", "error" ("info")
---@field loopback? boolean without Network a stage has no sockets but connected pairs, and starts faster: [isolation.md](isolation.md#without-a-loopback) (true)
---@field max_output_bytes? number more output than this ends the run (output_limit) (10 MiB)
---@field max_stderr_bytes? number of a longer log the middle is left out (64 KiB)
---@field nixpkgs? string a flake reference, such as "github:NixOS/nixpkgs/<rev>": the nix runtime takes this one (the registry's nixpkgs)
---@field npm? noether.NpmOptions likewise, for JavaScript: [runtimes.md](runtimes.md#packages-of-npm) (the public registry)
---@field on_call? function a function, called with what the journal has of each call when it is over (none)
---@field on_leftover_threads? "wait"|"end" Python: what becomes of threads that execute leaves running: "wait" for them, until the deadline; or "end" them with the process, as the log then says, and take the answer ("wait")
---@field on_network? fun(host: string, port: integer): boolean? a function (host, port), asked about hosts that no entry of the stage's list names but "?:port"; true lets it connect: [network.md](network.md#hosts-that-are-asked-about) (none)
---@field pip? noether.PipOptions where packages come from, and what installing them may take: [runtimes.md](runtimes.md#packages) (the public index)
---@field policy? table fields of policies to replace, by module: [policy.md](policy.md) (none)
---@field policy_path? string directories of policy files, separated by :; later ones win (none)
---@field require_isolation? boolean refuse "none", too (false)
---@field runtime? "auto"|"host"|"nix" where interpreters come from: "host", "nix"; see [Runtimes](runtimes.md#runtimes) ("auto")
---@field setup_timeout_secs? number deadline of what comes before the run (finding or building an interpreter) (300 s)
---@field store? noether.Store where ids and names are looked up (NOETHER_STORE, else in memory)
---@field timeout_secs? number deadline of the run; at it the whole process tree is killed (30 s)
---@field warm? any true, or { spares, imports, idle_secs, memory_bytes, calls }: processes wait for the calls to come: [warm.md](warm.md) (false)

---One thing that was looked at.
---@class noether.Finding
---@field name string "user_namespaces"
---@field title string "user namespaces"
---@field status "ok"|"warn"|"missing"
---@field found string what is there
---@field meaning? string what that means for stages
---@field hint? string what to do

---What is known of a stage's run: the third value of `execute`. Plain data.
---@class noether.Info
---@field logs string what the stage printed
---@field started_secs number when, on the monotonic clock
---@field duration_secs number from the call to the answer
---@field phases table<string, number> seconds spent in each state; `answer`, part of `run`: until the last of the answer was here
---@field spans noether.Span[] what was done when, in its order
---@field limits? table<string, number> the limits of the run
---@field runtime? noether.Runtime what ran the code
---@field provenance? noether.Provenance hashes of what went in
---@field isolation? noether.Isolation the backend that was used
---@field enforced? string[] what really held in this run, in the words of docs/isolation.md
---@field network? noether.NetworkUse where a list of hosts was in force
---@field learned? noether.Learned what the stage lacked (`learn`)
---@field launch? "launcher"|"direct" whether its supervisor stood by, or was started for it
---@field start? "spare"|"fork"|"cold" whether what ran the code had been started ahead, or was a copy of what had (`warm`)
---@field cached boolean whether the answer was kept from an earlier run
---@field calls? noether.CallEntry[] that the stage made to functions of the host
---@field outputs? noether.Output[] that were asked for and are there
---@field cell? integer of a session: the number of the cell
---@field display? string of a cell: the text of a value that has no JSON form
---@field attempts? noether.Attempt[] of `noether.retry`
---@field worker? string of `noether.remote`: who ran it
---@field queue_secs? number of `noether.remote`: how long it waited for a worker
---@field warnings string[] what a person should know
---@field result? noether.Result of the process, if one ran

---What a stage lacked in a run with the option `learn`.
---@class noether.Learned
---@field effects table[] that would have let it, in the form in which a stage keeps them
---@field unused string[] names that it asked for the address of and did not connect to

---What a run may use.
---@class noether.Limits
---@field answer_values? number values in an answer (arrays, objects, and all in them but keys); more is output_limit. execute_json makes nothing of them, and has no such limit (1000000)
---@field call_bytes? number arguments of a call, and its result (1 MiB)
---@field calls? number calls to functions; more fail in the stage, and beyond twice as many the run is ended (call_limit) (1000)
---@field connections? number with a list of hosts: connections at a time; more are reset ([network.md](network.md)) (256)
---@field cpu_secs? number processor time of the whole tree (none)
---@field file_bytes? number size of each file that is written (1 GiB)
---@field journal_bytes? number what journal keeps (16 MiB)
---@field memory_bytes? number memory of the whole tree (2 GiB)
---@field network_bytes? number with a list of hosts: bytes to and fro, of all connections together; beyond it all are reset (none)
---@field open_files? number open files of each process (1024)
---@field output_file_bytes? number each output; without output_dir, all of them together (64 MiB)
---@field output_files? number outputs of a run; more is output_files_limit (64)
---@field private_bytes? number bytes in the private directories together (with bwrap: in each) (256 MiB)
---@field private_files? number files in the private directories together (65536)
---@field processes? number processes and threads (256)

---Options of `map` and `each`: those of each call, how many, and who listens.
---@class noether.MapOptions: noether.CallOptions
---@field jobs? integer how many run at once (default: the number of processors)
---@field on_record? fun(index: integer, record: noether.Record) called with each record as it comes
---@field on_progress? fun(done: integer, total: integer) called after each; total is nil while it is not known
---@field per_input? fun(input: any, index: integer): table|nil what is to be different in the call of this input: `files` and `env` (added to those of all), `outputs`, `output_dir`
---@field on_error? "continue"|"stop" "stop": at the first error what runs is cancelled, and what was not started is not; those records have an error of kind `cancelled`
---@field trace? string the path of an HTML page to write: what was done when, and how near to its limits

---Options of `noether.mcp.functions`.
---@class noether.McpFunctionsOptions
---@field allow? string[] names of the tools that become functions; { "*" } for all (none: give it)
---@field spawn? table options of [noether.spawn](reference.md) for the server: it is in a sandbox without network unless they say otherwise (isolation = "none", env, sandbox) (none)
---@field timeout_secs? number how long the server may take for each answer (60 s)

---Options of `noether.mcp.serve`.
---@class noether.McpOptions
---@field effects? any what the code of those tools may do (none)
---@field executor? table runs code and stages (none: give it)
---@field functions? table by name: a function, or { call, description, input_schema, output_schema } (none)
---@field instructions? string what a model is told of the whole (none)
---@field jobs? number how many calls run at once (the processors)
---@field languages? string[] for which there is a tool run_<language> (all there are; TypeScript where it can be had)
---@field log? fun(level: string, message: string, fields: table) a function (level, message) for what the server has to say (none)
---@field name? string what the server calls itself ("noether")
---@field output_dir? string a directory for the files that calls ask for (none)
---@field read? number the descriptor that the client's lines come from (0)
---@field stages? boolean whether the stages with a name in the executor's store are tools (true)
---@field timeout_secs? number longest deadline that a call may ask for (30 s)
---@field write? number the descriptor that ours go to (1)

---What a program did with the hosts of its list.
---@class noether.NetworkUse
---@field reached noether.ReachedHost[]
---@field refused noether.RefusedHost[]
---@field asked? noether.AskedHost[] with `on_network`

---The same for packages of npm.
---@class noether.NpmOptions
---@field env? table<string, string> variables for the installer alone, which reads no configuration file (none)
---@field hosts? string[]|false likewise, beside the registry's host; false: all of the network (none)
---@field max_bytes? number what the packages may take, with what npm keeps meanwhile, in memory; and the largest file (1 GiB)
---@field max_files? number how many files they may be (131072)
---@field registry? string by http:// or https:// (npm's own)

---What a run has collected.
---@class noether.Output
---@field name string below the stage's working directory
---@field bytes integer
---@field type string by the name: "image/png"; "application/octet-stream" where it says nothing
---@field content? string without `output_dir`
---@field path? string with it

---Where packages come from, and what installing them may take.
---@class noether.PipOptions
---@field env? table<string, string> variables for the installer alone. ${NAME} in a URL stands for one, so that no plan, log or message shows what is secret (none)
---@field extra_index_urls? string[] further ones (none)
---@field find_links? string[] directories (absolute paths) or URLs with wheels; with these and no index, no other place is asked (none)
---@field hosts? string[]|false hosts beside those of the indexes that [the installer may reach](#the-hosts-of-an-installer); false: all of the network (none)
---@field index_url? string the index, by http:// or https:// (pip's own)
---@field max_bytes? number what wheels and their contents may take, in memory; and the largest file (1 GiB)
---@field max_files? number how many files they may be (131072)
---@field only_binary? boolean build source distributions, too; their code runs in the installer's sandbox (true)
---@field trusted_hosts? string[] hosts that may be asked without TLS, or without a certificate (none)

---What a run is, before it is run: plain data, printable and comparable.
---@class noether.Plan
---@field kind "exec"
---@field argv string[] the interpreter and its arguments
---@field files table<string, string> the wrapped script, text by name
---@field sandbox table the description that the backend gets
---@field limits table<string, number>
---@field stdin string the input, as JSON
---@field env table<string, string> without the values of the caller's variables
---@field secrets string[] names of the caller's variables
---@field calls? string[] names of the functions that it may call
---@field outputs? string[] patterns of the files that are collected when it has ended
---@field runtime noether.Runtime
---@field work_dir? string

---Options of `plan`: those of a call, and one more.
---@class noether.PlanOptions: noether.CallOptions
---@field resolve? boolean false: touch no disk, and leave the runtime unresolved

---What is kept ready for the calls of one shape. Plain data.
---@class noether.Pool
---@field language string
---@field isolation noether.Isolation
---@field imports string[] what its processes have imported
---@field spares integer how many processes wait
---@field ready integer how many of them have done all that can be done ahead
---@field served integer how many calls were served by them
---@field idle_secs number how long ago the last call was
---@field bytes number what they may hold together: as much as the smallest of their runs did
---@field failed_imports? table<string, string> why something could not be imported
---@field fork_server? "starting"|"proving"|"serving" what copies are made of, if there is any
---@field no_fork_server? string why there is none
---@field problem? string what went wrong last

---What a warm-up is at.
---@class noether.Progress
---@field language string
---@field state "locking"|"building"|"repairing"|"checking"|"ready"|"failed" "locking" finds what nixpkgs stands for now
---@field detail? string what it is about
---@field done integer how many languages are over
---@field total integer

---Hashes (SHA-256, in hexadecimal) of all that decides an answer.
---@class noether.Provenance
---@field stage? string the stage's id
---@field code string of the code
---@field script string of names and texts of the wrapped files
---@field input string of standard input
---@field runtime string of reference and version, and of nix's the store path
---@field packages? string of what the installed packages say that they hold

---Options of `noether.prune`.
---@class noether.PruneOptions
---@field cache_dir? string where wrapped scripts and installed packages are kept (the user's cache)
---@field dry_run? boolean remove nothing, and say what would go (false)
---@field older_than_secs? number how long an entry must not have been used: 30 days; at least a day, and longer than any run (2592000 s)

---What `noether.prune` did.
---@class noether.Pruned
---@field cache_dir? string the cache; nil if there is none
---@field older_than_secs number
---@field dry_run boolean whether this only would go
---@field scripts noether.PrunedEntry[] wrapped stages
---@field venvs noether.PrunedEntry[] environments with packages
---@field leftovers noether.PrunedEntry[] what was never finished
---@field count number of all these
---@field bytes number of all these
---@field kept number how many scripts and environments are still there
---@field foreign string[] paths of what is none of the library's, and was left alone
---@field failed table[] what would not go: `path`, `message`

---Something that went out of the cache, or would go.
---@class noether.PrunedEntry
---@field name string of the directory
---@field bytes number what its files held
---@field unused_secs number since when it was not used, to the day

---A host and port that were connected to.
---@class noether.ReachedHost
---@field host string
---@field port integer
---@field bytes_in integer from the host
---@field bytes_out integer to the host

---What `map` has for each input.
---@class noether.Record
---@field output any the answer; nil with an error
---@field err? noether.Error
---@field info? noether.Info

---What was not let through, or could not be reached. Each once, and at most 64.
---@class noether.RefusedHost
---@field host string as it was asked for: the stage's own words
---@field port? integer nil: it is not known, since its name was refused
---@field reason string "unlisted", "private_address", "not_found", "no_resolver", "lookup_timed_out", "connect_timed_out", "connection_refused", "unreachable", "connections", "network_bytes", "names", "idle", "denied" (by `on_network`), "unanswered" (by it, in time)

---Options of `noether.remote`.
---@class noether.RemoteOptions
---@field big_integers? "exact"|"string" "string": integers of an answer that a double cannot hold (beyond 2^53) come as text, in every Lua ("exact")
---@field env? table<string, string> variables to add, by name; a plan shows their names only (none)
---@field key? any the secret that callers and workers share, of 16 bytes or more; or a list: the first signs, each verifies (NOETHER_FLEET_KEY)
---@field limits? noether.Limits what the process tree may use (the worker's)
---@field max_queue? any with so many jobs in the queue, running ones among them, one more is queue_full at once (10000)
---@field queue? string its name: letters, digits and _ . : - ("stages")
---@field reconnect_secs? number how long a server that is lost is waited for; then what waits is queue_unavailable, or job_dead where it may have run (30 s)
---@field repeat_effects? boolean stages that are not Pure may be run again, too, where a worker died (false)
---@field timeout_secs? number deadline of the run; at it the whole process tree is killed (30 s)
---@field ttl_secs? number how long a job may take from here and back; then it is job_expired, whatever has become of it (3600 s)
---@field unsigned? boolean do without a key; then whoever can write to the server has anything run (false)
---@field url? string where the server is: redis://[USER:PASSWORD@]HOST[:PORT][/DB], with %2F for a / in the password; rediss:// with TLS, ?ca=FILE for authorities of your own, &cert=FILE&key=FILE for a certificate of the client's; unix:///PATH?db=N (NOETHER_FLEET_URL)

---What this machine offers: findings, and the facts that they are made of.
---@class noether.Report
---@field version string of the library
---@field ok boolean whether stages can be run, isolated
---@field complete boolean whether all could be tried; what could not has `untried`, a text, in the place of an answer
---@field auto? noether.Isolation what "auto" takes; nil: it refuses
---@field checks noether.Finding[]
---@field kernel table release, machine
---@field user_namespaces table max, unprivileged_clone, apparmor_restricts, root, filtered, chroot
---@field proc table covered (paths)
---@field landlock table abi, disabled
---@field seccomp table filter, notification
---@field cgroups table version, controllers (version and usable, by name)
---@field supervisor table works, launch ("launcher" or "direct"), reason, errno, hint, memfd_noexec
---@field fork_server table whether calls of a warm executor are forked: works, reason
---@field hosts table whether a list of hosts holds: works, backend, reason; resolver (the path of getent)
---@field nix table installed, path, version, store, in_use, usable; reason, hint; failure and failure_secs, if it failed so long ago that it is not asked again yet
---@field cache table dir, source, usable, reason; scripts, venvs (how many), bytes, more (it holds more than these bytes)
---@field environment table<string, string> the library's variables that are set
---@field interpreters table<string, table> found, path, version, warnings; reason, hint
---@field backends table<string, table> name, works, enforced, warnings; reason, step, errno

---What became of a process, however it ended. Plain data.
---@class noether.Result
---@field ok boolean it exited with code 0
---@field reason noether.Reason the first cause of its end
---@field exit_code? integer
---@field signal? string "SIGSEGV"
---@field failed_stream? "stdin"|"stdout"|"stderr" for the reason `stream_failed`
---@field errno? string "ENOSPC"; likewise
---@field stdout string what it wrote, up to the limit; after `output_limit` the first 64 KiB
---@field stderr string what it wrote; of a longer one the first and the last half of the limit
---@field stdout_bytes integer how many it wrote
---@field stderr_bytes integer how many it wrote
---@field stdout_truncated boolean
---@field stderr_truncated boolean
---@field duration_secs number
---@field answer_secs? number until the last of stdout was here; nil where there was none
---@field cpu_user_secs number of the whole tree
---@field cpu_system_secs number of the whole tree
---@field max_rss_bytes? integer of the biggest process in it
---@field at_process_limit? true nothing more could be started, as far as anybody saw it
---@field denied_processes? integer how often another process was refused it, if ever
---@field denied_connections? integer how many connections failed in a network with nothing in it; nil where nobody looked: it ended well, or no such network was made for it
---@field network? noether.NetworkUse where a list of hosts was in force
---@field wanted? noether.Wanted[] where that was to be learnt, what it named among files and did not find, or may not change
---@field isolation noether.Isolation the backend that was used
---@field launch "launcher"|"direct" whether its supervisor stood by, or was started for it
---@field enforced string[] what really held, in the words of docs/isolation.md
---@field argv string[]

---Options of `noether.retry`.
---@class noether.RetryOptions
---@field attempts? any how often at most, the first time included (3)
---@field backoff_secs? number how long to sleep before the second attempt; doubled before each further one, and shortened by up to a half at random (0.1 s)
---@field kinds? noether.Kind[] kinds of errors that are worth another attempt (see below)
---@field max_backoff_secs? number the longest sleep (30 s)
---@field repeat_effects? boolean run again also a stage that had begun and may have changed something (false)

---What a tree of processes may use.
---@class noether.RunLimits
---@field connections? number with a list of hosts: connections at a time; more are reset ([network.md](network.md)) (256)
---@field cpu_secs? number processor time of the whole tree (none)
---@field file_bytes? number size of each file that is written (1 GiB)
---@field memory_bytes? number memory of the whole tree (2 GiB)
---@field network_bytes? number with a list of hosts: bytes to and fro, of all connections together; beyond it all are reset (none)
---@field open_files? number open files of each process (1024)
---@field private_bytes? number bytes in the private directories together (with bwrap: in each) (256 MiB)
---@field private_files? number files in the private directories together (65536)
---@field processes? number processes and threads (256)

---Options of `noether.run` and `noether.spawn`.
---@class noether.RunOptions
---@field clear_env? boolean start from an empty environment (true in a sandbox)
---@field cwd? string working directory; only with isolation "none" (a sandbox has sandbox.work_dir) (the caller's)
---@field env? table<string, string> variables to add (none)
---@field isolation? noether.Isolation "auto", "native", "bwrap", "landlock" or "none" ("auto")
---@field launcher? boolean supervisors stand by for the next runs, and a run starts none of its own: [isolation.md](isolation.md#the-launcher) (false)
---@field limits? noether.RunLimits what the process tree may use (none)
---@field loopback? boolean as of an executor; it needs a sandbox (true)
---@field max_output_bytes? number more output than this ends the run (output_limit) (10 MiB)
---@field max_stderr_bytes? number of a longer log the middle is left out (64 KiB)
---@field on_network? fun(host: string, port: integer): boolean? as of a call, for the hosts of sandbox; called by step and wait (none)
---@field on_stderr? fun(piece: string) likewise (none)
---@field on_stdout? fun(piece: string) a function, called with what comes, piece by piece (none)
---@field require_isolation? boolean refuse "none", too (false)
---@field sandbox? table a description of what is in the sandbox, in place of /usr, read-only (the bare system)
---@field stderr? noether.Stream as stdout; the result holds its first and last part all the same (the result)
---@field stdin? string|noether.Stream|function|true text; { path = "..." }, a file; { fd = 5 }, a descriptor; true, for what process:write(text) will give until process:close_stdin(); or a function that is called for the next piece when there is room, and returns nil at the end, or false if there is none yet: it is asked again when process:feed() is called. One that goes on giving "" is asked again after a while, of 50 ms at most (none)
---@field stdout? noether.Stream { path = "..." }, a file that is made (0600) or emptied; or { fd = 5 }, a descriptor (the result)
---@field supervise? boolean false, only with isolation "none": cheaper, and a process that it left behind lives on (true)
---@field timeout_secs? number deadline (none)

---What runs a stage's code.
---@class noether.Runtime
---@field kind string "host", "nix", "venv", "npm", "inline"
---@field language? string
---@field path? string of the interpreter
---@field version? string
---@field reference? string what the path was found by
---@field store_path? string of nix
---@field packages? string[] what is in it: "name==version" in a venv, attributes with nix
---@field nix? string nix's version
---@field compiler? string the program that makes of a stage's code what the interpreter runs

---Options of `executor:session`.
---@class noether.SessionOptions
---@field effects? any as of a stage: what the cells may do (Unknown)
---@field env? table<string, string> variables to add, by name; a plan shows their names only (none)
---@field files? {[string]: string|{path: string}} as of a call ([files.md](files.md)): there for all cells (none)
---@field functions? table functions of this program that the stage may call, by name: [functions.md](functions.md) (none)
---@field idle_secs? number how long it may do nothing between two cells (for ever)
---@field journal? boolean keep arguments and results of calls whole in info.calls (false)
---@field language? string the language of its cells; it must be given (none)
---@field lifetime_secs? number how long it lives (3600)
---@field limits? noether.Limits for the whole: memory, processes, files; for each cell, and for each time between two: cpu_secs; for each cell: calls (as of a call)
---@field max_output_bytes? number how much JSON the value of a cell may be (10 MiB)
---@field max_stderr_bytes? number how much of a cell's log is kept (64 KiB)
---@field on_call? function a function, called with what the journal has of each call when it is over (none)
---@field on_log? fun(line: string) called with each line that a cell prints (none)
---@field on_network? fun(host: string, port: integer): boolean? a function (host, port), asked about hosts that no entry of the stage's list names but "?:port"; true lets it connect: [network.md](network.md#hosts-that-are-asked-about) (none)
---@field output_dir? string a directory for what cells leave; without one it is in info.outputs (none)
---@field output_overwrite? boolean replace files there that no cell of this session has written (false)
---@field packages? string[] in Python: packages, as name==version, that a stage would ask for by # requires: (none)
---@field setup_timeout_secs? number how long it may take to start (300)
---@field timeout_secs? number deadline of a cell (30)
---@field work_dir? string a directory of yours, read-write, as the stage's working directory (private)

---A part of a run's time.
---@class noether.Span
---@field name string "wrap", "resolve", "set-up", "install", "compile", "run", "decode", "wait"
---@field start_secs number after the beginning
---@field duration_secs number

---A few lines of code that define `execute`, and what is said of them.
---@class noether.Stage
---@field language string "python", "javascript", "bash", or another that a policy gives
---@field code string
---@field effects? (string|table)[] what it needs of the machine; nil: `Unknown`
---@field name? string an alias of its id
---@field description? string what it does, for people and models
---@field input_schema? table what it takes (docs/mcp.md lists the keywords): another input is refused before anything runs
---@field output_schema? table what it gives: another answer is `output_invalid`

---A file or a descriptor in place of text: either `path` or `fd`.
---@class noether.Stream
---@field path? string a file: read; or made or emptied, and written
---@field fd? integer a descriptor of the caller's
---@field share? boolean the program gets the descriptor itself

---Options of `noether.trace.page` and `noether.trace.write`.
---@class noether.TraceOptions
---@field title? string what was run

---What a program named and did not find. Each once, and at most 256.
---@class noether.Wanted
---@field path string absolute, as the program said it
---@field access string "look", "read", "write", "create", "directory" (to make one), "make" (or remove a name of a directory), "link" (what it leads to is not there), "begin" (the program's own script: what comes before is its interpreter's)

---Options of `executor:warmup`.
---@class noether.WarmupOptions
---@field setup_timeout_secs? number as of a call, for each language
---@field spares? integer of a warm executor: how many processes (0: none, but for what makes copies) of each language are to wait for stages that declare no effects and want no packages; the task is over when they are ready
---@field on_progress? fun(event: noether.Progress) called when something begins
---@field fresh? boolean false: what is known of an interpreter is believed, as a call believes it

---Options of `noether.worker`.
---@class noether.WorkerOptions
---@field dead_secs? number after how long without a heartbeat a worker is dead, to this one; the same for all (15 s)
---@field drain_secs? number how long what runs may go on after stop (30 s)
---@field executor? table what runs the stages, by its rules; it stays the caller's (none)
---@field jobs? any how many run at once (the processors)
---@field key? any the secret that callers and workers share, of 16 bytes or more; or a list: the first signs, each verifies (NOETHER_FLEET_KEY)
---@field log? fun(level: string, message: string, fields: table) a function (level, message) for what it has to say (none)
---@field name? string what others know it by: letters, digits and _ . -; no two may have the same (host, process and chance)
---@field queue? string its name: letters, digits and _ . : - ("stages")
---@field unsigned? boolean do without a key; then whoever can write to the server has anything run (false)
---@field url? string where the server is: redis://[USER:PASSWORD@]HOST[:PORT][/DB], with %2F for a / in the password; rediss:// with TLS, ?ca=FILE for authorities of your own, &cert=FILE&key=FILE for a certificate of the client's; unix:///PATH?db=N (NOETHER_FLEET_URL)

---@class noether.AnyExecutor
local AnyExecutor = {}

---Run a stage and wait for its answer.
---@param id string|noether.Stage id or name; `noether.executor`'s also take a stage as a table
---@param input any any JSON value (nil is null)
---@param opts? noether.CallOptions options of this call, in place of the executor's
---@return any # the stage's answer; nil with an error if there is none. `false` is an answer, and JSON null is `noether.null`: test the error
---@return noether.Error? # error
---@return noether.Info? # info what is known of the run, on failure too
function AnyExecutor:execute(id, input, opts) end

---As `execute`, with JSON text in and out. Both are checked, neither is encoded anew.
---@param id string|noether.Stage as for `execute`
---@param text string|table|function one JSON value: a string, a file by `{ path = "..." }`, or a function that returns it in pieces, and nil at the end; at most 256 MiB
---@param opts? noether.CallOptions options of this call
---@return string? # JSON text; nil with an error if there is none
---@return noether.Error? # error
---@return noether.Info? # info
function AnyExecutor:execute_json(id, text, opts) end

---Begin a stage and return at once.
---@param id string|noether.Stage as for `execute`
---@param input any any JSON value (nil is null)
---@param opts? noether.CallOptions options of this call
---@return noether.Task? # a task, whose `wait` returns what `execute` would; nil and an error (`closed`)
---@return noether.Error? # error
function AnyExecutor:start(id, input, opts) end

---Run a stage over many inputs, several at once.
---@param id string|noether.Stage as for `execute`
---@param inputs any[]|function a list of JSON values, or a function that returns the next one, and nil after the last (`io.lines()` is one); it is asked only when a job is free
---@param opts? noether.MapOptions options of each call, `jobs` and listeners
---@return noether.Record[]? # a list of `{ output, err, info }` in the order of the inputs; nil and an error (`input_invalid`: the stage itself is no stage, or the trace cannot be written; `spawn_failed`: no descriptor is left)
---@return noether.Error? # error beside the list, if only the end of the trace could not be written
function AnyExecutor:map(id, inputs, opts) end

---As `map`, as an iterator: `for index, record in executor:each(id, inputs) do`. Records come in
---the order in which they are there. Leaving the loop early cancels what runs (Lua 5.4; elsewhere,
---keep the iterator and `close` it).
---@param id string|noether.Stage as for `execute`
---@param inputs any[]|function as for `map`
---@param opts? noether.MapOptions as for `map`
---@return function? # what `for` takes: called, it returns the next index and record; `close()` gives it up. Or nil and an error as of `map`
---@return noether.Error? # error
function AnyExecutor:each(id, inputs, opts) end

---What `execute` would run, without running it: exactly what the launch gets, plain data.
---@param id string|noether.Stage as for `execute`
---@param input any as for `execute`
---@param opts? noether.PlanOptions per-call options, and `resolve = false`: touch no disk, and show the runtime as unresolved
---@return noether.Plan? # the plan; or nil and an error. Values of the caller's `env` are left out, their names are in `secrets`
---@return noether.Error? # error
function AnyExecutor:plan(id, input, opts) end

---Whether a stage is there that this executor can run.
---@param id string id or name
---@return boolean # whether
function AnyExecutor:has_implementation(id) end

---Make a session: one sandbox with an interpreter that stays, for cells of code that build on one
---another. docs/sessions.md is about them. Executors of another kind have none, and raise.
---@param opts noether.SessionOptions at least `language`
---@return noether.Session? # the session, which begins to start; or nil and an error (`closed`, `language_unknown`, `input_invalid`)
---@return noether.Error? # error
function AnyExecutor:session(opts) end

---Give up the executor: tasks in flight are closed, which kills what they run.
---Calls on it fail with `closed` from then on.
---@return boolean # true, however often it is called
function AnyExecutor:close() end

---@class noether.Executor: noether.AnyExecutor
local Executor = {}

---The lock of the packages that a stage names: what would be installed now, each file with its
---hash, as the option `lock` of a call takes it. Of Python it is a pylock.toml (PEP 751) with what
---fits this machine, and names and ranges of versions will do in the stage; of JavaScript and
---TypeScript a package-lock.json. The stage does not run, and no package's code does.
---@param id string|noether.Stage as for `execute`
---@param opts? noether.CallOptions options of this call
---@return string? # its text; or nil and an error (`input_invalid`: it names none, `packages_failed`, `package_rejected`, `setup_timed_out`, `runtime_unavailable`)
---@return noether.Error? # error
function Executor:lock(id, opts) end

---Add a stage to this executor, beside its store.
---@param id string any text; it comes before the store's stages
---@param code string defines `execute`
---@param language string "python", "javascript", "bash", or another that a policy gives
---@param effects? (string|table)[] as in a stage
---@return boolean? # true; or nil and an error (`input_invalid`, `language_unknown`)
---@return noether.Error? # error
function Executor:register_with_effects(id, code, language, effects) end

---The configuration as the original has it.
---@return noether.Config # a copy
function Executor:config_snapshot() end

---A new executor with another configuration and the same store, policies and registered stages.
---This one stays usable; what is registered later with one is not seen by the other.
---@param new noether.Config the fields of `config_snapshot` to change
---@return noether.Executor? # the executor; or nil and an error (`isolation_unavailable`)
---@return noether.Error? # error
function Executor:rebuild_with_config(new) end

---Find interpreters ahead of the first call, in the background: what it finds is what the calls
---then use; and with `spares` have processes wait for them. Each language has `setup_timeout_secs`
---of its own.
---@param languages? string[] names; nil is all there are
---@param opts? noether.WarmupOptions
---@return noether.Task? # a task: its output is `{ [language] = { path, version, reference, kind } }` (and `spares`, how many wait), with `{ err = error }` for what cannot be had, which is no failure of the whole; or nil and an error
---@return noether.Error? # error
function Executor:warmup(languages, opts) end

---What is kept ready for calls to come (the option `warm`).
---@return noether.Pool[] # most recently used first
function Executor:pools() end

---@class noether.Session
local Session = {}

---Run a cell and wait for its answer.
---@param code string
---@param input? any any JSON value: the variable `input` of this cell
---@param opts? noether.CellOptions
---@return any # the value of the cell's last expression (in Bash what it printed); `noether.null` where there is none, or it has no JSON form: then `info.display` has its text
---@return noether.Error? # error
---@return noether.Info? # info with `cell`, the cell's number
function Session:run(code, input, opts) end

---Begin a cell and return at once.
---@param code string
---@param input? any as for `run`
---@param opts? noether.CellOptions
---@return noether.Task? # a task, whose `wait` returns what `run` would; `cancel` interrupts the cell. Or nil and an error (`session_busy`, `session_lost`, `closed`, `input_invalid`)
---@return noether.Error? # error
function Session:start(code, input, opts) end

---Interrupt the cell that runs, as Ctrl-C does: KeyboardInterrupt in Python. A cell that goes on
---all the same goes on.
---@return boolean # whether one ran
function Session:interrupt() end

---Make it fresh: what was in it is gone, and cells are counted anew. A cell that runs is ended.
---@return boolean? # true; nil and an error (`closed`)
---@return noether.Error? # error
function Session:reset() end

---Where the session is.
---@return "starting"|"idle"|"busy"|"lost"|"closed"
function Session:state() end

---Give it up: the interpreter and all that it started are killed. Never blocks.
---@return boolean # true, however often it is called
function Session:close() end

---@class noether.Task
local Task = {}

---Go on as far as possible without waiting.
---@return boolean # whether the task is over
function Task:step() end

---Wait for the outcome; never kills.
---@param secs? number how long at most; nil is as long as it takes, 0 just looks
---@return any # the output; nil with an error otherwise. `false` and JSON null are outputs: test the error
---@return noether.Error? # error; kind `pending` if it is not over yet, `closed` after `close`
---@return noether.Info? # info
function Task:wait(secs) end

---End the task early: what runs is killed with all it started. `wait` then gives `cancelled`.
---More calls, and calls when it is over, do nothing.
---@return boolean # true
function Task:cancel() end

---Give up the task: what runs is killed, its descriptor is closed. Never blocks.
---@return boolean # true, however often it is called
function Task:close() end

---Where the task is.
---@return "prepare"|"setup"|"run"|"decode"|"wait"|"done"|"closed" # `wait` is the pause before another attempt
function Task:state() end

---The descriptor that becomes readable when `step` has something to do.
---It is the same for the life of the task.
---@return integer? # nil and an error if there is none to be had, or the task is closed
---@return noether.Error? # error
function Task:pollfd() end

---What to poll the descriptor for.
---@return string # "r"
function Task:events() end

---After how many seconds to `step` even if the descriptor stays quiet.
---@return number? # 0 when the task is over; nil if there is no such moment
function Task:timeout() end

---@class noether.Process
local Process = {}

---Do what can be done now; the listeners and the producer of input are called from here.
---@param secs? number how long to wait at most where there is nothing to do: until something came for a listener, or it is over
---@return boolean # whether it is over
function Process:step(secs) end

---Write to the program's standard input, which was opened by `stdin = true`. Never blocks: what
---the program does not take yet is kept, and goes when it is stepped, waited for or written to.
---`on_stdout` and `on_stderr` may call it.
---@param text string
---@return integer? # how many bytes are kept; nil with an error (`closed`) after `close_stdin`, and when the program has ended
---@return noether.Error? # error
function Process:write(text) end

---End the program's standard input, after what was written.
---@return boolean # true, however often it is called
function Process:close_stdin() end

---Ask the function that was given as `stdin` again, which had returned false.
---@return boolean # true
function Process:feed() end

---Wait until the program and all it started are gone, and its output is here. Never kills.
---@param secs? number how long at most; nil is as long as it takes
---@return noether.Result? # the result, however it ended
---@return noether.Error? # error: `pending`, `closed`, or why nothing ran
function Process:wait(secs) end

---The result of a process that is over, without waiting.
---@return noether.Result? # as of `wait`
---@return noether.Error? # as of `wait`
function Process:result() end

---The descriptor that becomes readable when `step` has something to do.
---@return integer? # the same until `close`; nil after it
function Process:pollfd() end

---What to poll the descriptor for.
---@return string # "r"
function Process:events() end

---After how many seconds to `step` even if the descriptor stays quiet.
---@return number? # 0 when it is over; nil if there is no such moment
function Process:timeout() end

---The id of the supervisor, or of the program if it is not supervised: a child of this program,
---unless one served the run that stood by.
---@return integer? # nil after `close`
function Process:pid() end

---What the steps to a native sandbox took.
---@return table[] # list of `{ name, secs }`; empty for other backends, or before the program runs
function Process:setup_steps() end

---Send a signal to the program itself.
---@param signal? string|number "TERM", "SIGTERM" or a number
---@return boolean? # true, or nil and an error (errno `ESRCH`: it has ended)
---@return noether.Error? # error
function Process:kill(signal) end

---End the program and all it started; the result's reason is then `cancelled`.
---@return boolean # true
function Process:cancel() end

---Give the process up: what still runs is killed, and reaped later. Never blocks; a result that
---was seen stays.
---@return boolean # true, however often it is called
function Process:close() end

---@class noether.Set
local Set = {}

---Add a process or task, of any executor. One that is in the set already stays; it may be in
---other sets, too, and be waited for, cancelled and closed by itself.
---@param handle noether.Process|noether.Task
---@return noether.Process|noether.Task|nil # the handle; or nil and an error (`closed`, `spawn_failed`: no descriptor is left)
---@return noether.Error? # error
function Set:add(handle) end

---Take a handle out; it goes on.
---@param handle noether.Process|noether.Task
---@return boolean # whether it was in the set
function Set:remove(handle) end

---Take one handle that is over out of the set, waiting for it if need be. Those that are over are
---given in the order in which they were seen to be, and what a callback of a task raised is raised
---by the task's `wait`, not here.
---@param secs? number how long at most; nil is as long as it takes, 0 never blocks
---@return noether.Process|noether.Task|nil # one whose `wait` returns at once; nil alone if the set is empty, nil and an error if none is over in time (`pending`) or the set is closed (`closed`)
---@return noether.Error? # error
function Set:next(secs) end

---How many handles are in the set: those that `next` has still to give.
---@return integer
function Set:count() end

---The one descriptor that stands for all of them: it becomes readable when `next(0)` has something
---to do, moments included, and stays the same until `close`.
---@return integer? # or nil and an error (`closed`, `spawn_failed`)
---@return noether.Error? # error
function Set:pollfd() end

---What to poll the descriptor for.
---@return string # "r"
function Set:events() end

---For loops that would rather have a time than the descriptor's word for it.
---@return number? # seconds after which `next(0)` has something to do in any case; nil: there is no such moment
function Set:timeout() end

---Give the set up. What is in it goes on, and stays its owner's. Never blocks.
---@return boolean # true, however often it is called
function Set:close() end

---@class noether.Budget: noether.AnyExecutor
local Budget = {}

---What has been spent, or is set aside for what runs now.
---@return number # cents
function Budget:spent() end

---What may still be spent.
---@return number # cents
function Budget:left() end

---@class noether.Cache: noether.AnyExecutor
local Cache = {}

---Forget all answers, those in `dir` included.
---@return boolean? # true; or nil and an error (`cache_failed`)
---@return noether.Error? # error
function Cache:clear() end

---@class noether.Worker
local Worker = {}

---Go on without waiting.
---@return boolean # whether it is over: it was stopped and what it had is done, or it cannot go on (`run` says why)
function Worker:step() end

---After how many seconds `step` has something to do in any case.
---@return number
function Worker:timeout() end

---The descriptors that are readable when `step` has something to do. One more comes with the first
---job that calls functions of its caller: ask each time.
---@return integer[]
function Worker:pollfds() end

---Take no more jobs, and be over when those that run are done: after `drain_secs` at the latest.
---@return boolean # true
function Worker:stop() end

---Serve until it is stopped (by a function of the executor's, or by its log), or cannot go on.
---@return boolean? # true; or nil and an error (`queue_unavailable`)
---@return noether.Error? # error
function Worker:run() end

---Make an end, at once: what runs is killed, and left for others.
---@return boolean # true, however often it is called
function Worker:close() end

---@class noether.Store
local Store = {}

---Put a stage into the store. One that is there already stays, and takes the name.
---@param fields noether.Stage
---@return string? # its id: the SHA-256 of language, code and effects; or nil and an error (`input_invalid`, `store_failed`)
---@return noether.Error? # error
function Store:put(fields) end

---The stage of an id or a name.
---@param id_or_name string
---@return noether.Stage? # a copy, with its `id`; or nil and an error (`stage_not_found`, `store_failed`)
---@return noether.Error? # error
function Store:get(id_or_name) end

---All stages, without their code.
---@return table[]? # by id: `{ id, name, language, effects }`, of a damaged one `{ id, err }`; or nil and an error (`store_failed`)
---@return noether.Error? # error
function Store:list() end

---Take a stage out of the store, with its names.
---@param id_or_name string
---@return boolean? # true; or nil and an error (`stage_not_found`, `store_failed`)
---@return noether.Error? # error
function Store:remove(id_or_name) end

---What went wrong. `tostring` gives its message.
---@class noether.Error
---@field kind noether.Kind what to branch on
---@field message string one line, bounded, without control bytes
---@field hint? string what to do
---@field stage? string id of the stage
---@field operation? string of a program that could not be started, what could not be done: "bind", "make namespaces", "execve"
---@field errno? string "ENOENT"
---@field limit? number the limit that was met, in its unit
---@field effect? string "FsRead(/data)"
---@field cell? integer number of the cell of a session
---@field network? {host: string, port: ?integer} what a list of hosts did not let through
---@field tells_of_host? boolean the hint says what is on this machine: not for who wrote the code
---@field result? noether.Result of the process, if one ran
---@field cause? noether.Error|string what lies behind it
local Error = {}

---Plain data for JSON or another process; from_table reads it back.
---@return table # the error's fields, see portable
function Error:to_table() end

---@class noether.nix_executor
local nix_executor = {}

---Find nix: the default profile's first, then that of PATH, then the user's own profile's. No
---program is run.
---@param environ? table the environment (default: this process's); only absolute entries of its `PATH` count
---@return string? # absolute path; nil if nix is not installed
function nix_executor.find_nix(environ) end

---An executor over a store with the default configuration; see from_store_with_config.
---@param store noether.Store
---@return noether.Executor? # nil and an error as there
---@return noether.Error? # error
function nix_executor.from_store(store) end

---An executor over a store that runs stages with Nix's interpreters.
---@param store noether.Store
---@param config noether.Config
---@return noether.Executor? # the executor; or nil and an error (`runtime_unavailable` where nix is not installed), so that callers can fall back to another executor
---@return noether.Error? # error
function nix_executor.from_store_with_config(store, config) end

---@class noether
---@field version string The version of the library.
---@field null lightuserdata JSON null, in and out: the null light userdata, equal to `cjson.null`.
local noether = {}

---Stores: `memory()` and `open(dir)`.
noether.store = {}

---Runs as a page to look at: `page(records)` and `write(path, records)`.
noether.trace = {}

---Stages and functions as tools of a model: `serve(options)`; and tools of a server as functions
---of stages: `functions(argv, options)`.
noether.mcp = {}

---A store in this Lua state's memory.
---@return noether.Store # a store
function noether.store.memory() end

---A store in a directory, which is made (mode 0700) where it is missing.
---Several processes may use it at once.
---@param dir string its parent must exist
---@return noether.Store? # a store; or nil and an error (`store_failed`)
---@return noether.Error? # error
function noether.store.open(dir) end

---Run a stage in one call. A default executor is made at the first one and used again,
---by the process and the user that made it.
---@param request noether.ExecuteRequest `language`, `code`, and if wanted `input`, `effects`, any option of a call (`timeout_secs`, ...), `isolation` and `runtime`
---@return any # the stage's answer; nil with an error if there is none. `false` is an answer: test the error
---@return noether.Error? # error
---@return noether.Info? # info what is known of the run, on failure too
function noether.execute(request) end

---Make an executor: what runs stages. It can be used by many tasks at once.
---@param opts? noether.ExecutorOptions docs/reference.md explains each
---@return noether.Executor? # the executor; or nil and an error (`policy_error`, `store_failed`, `isolation_unavailable`, `runtime_unavailable`)
---@return noether.Error? # error
function noether.executor(opts) end

---Make an executor of functions.
---@param functions table<string, function> by id: each takes the input (decoded JSON) and returns the output (nil is JSON null), or nil and a message; raising is a failure of the stage too
---@return noether.AnyExecutor # the executor
function noether.inline(functions) end

---Make an executor that asks others in turn.
---They stay the caller's: closing this one does not close them.
---@param executors noether.AnyExecutor[] a list, asked in its order
---@return noether.AnyExecutor # the executor
function noether.composite(executors) end

---Make an executor that tries again in another one.
---`info.attempts` of its calls lists each attempt: `duration_secs`; of one that failed `kind`,
---`message` and `errno`; and `wait_secs`, how long it slept after it.
---@param executor noether.AnyExecutor it stays the caller's: closing this one does not close it
---@param opts? noether.RetryOptions docs/many.md says which kinds can be tried again at
---@return noether.AnyExecutor # the executor
function noether.retry(executor, opts) end

---Make an executor that runs stages of another one within a budget.
---A stage that declares no Cost costs nothing, and so does one whose effects are not known (a
---function of `noether.inline`).
---@param executor noether.AnyExecutor it stays the caller's: closing this one does not close it
---@param opts noether.BudgetOptions
---@return noether.Budget # the executor, with `spent()` and `left()`
function noether.budget(executor, opts) end

---Make an executor that keeps answers of another one.
---`info.cached` says of a call whether its answer was kept; such an info has no result and no logs.
---@param executor noether.AnyExecutor it stays the caller's: closing this one does not close it
---@param opts? noether.CacheOptions
---@return noether.Cache? # the executor, with `clear()`; or nil and an error (`cache_failed`)
---@return noether.Error? # error
function noether.cache(executor, opts) end

---Make an executor whose stages run wherever workers of a queue are (`noether worker`): on as many
---machines as there are. It has the methods of every executor; `info.worker` says who ran a stage,
---`info.queue_secs` how long it waited for somebody. docs/fleet.md has what is promised.
---@param opts? noether.RemoteOptions
---@return noether.AnyExecutor? # the executor; or nil and an error (`queue_unavailable`: no descriptor is left). Whether the server is there is found out by the first call
---@return noether.Error? # error
function noether.remote(opts) end

---Make a worker. It connects when it is first stepped.
---@param opts noether.WorkerOptions
---@return noether.Worker? # the worker; or nil and an error (`queue_unavailable`, `spawn_failed`: no descriptor is left)
---@return noether.Error? # error
function noether.worker(opts) end

---Runs as a page.
---@param records noether.Record[] a list of `{ output, err, info }`, as `map` gives it; at most 10,000 are shown
---@param opts? noether.TraceOptions
---@return string # HTML, with no need of anything beside it
function noether.trace.page(records, opts) end

---Write runs as a page: all of it, under its name, or nothing.
---@param path string of the file; one that is there is replaced
---@param records noether.Record[] as of page
---@param opts? noether.TraceOptions
---@return boolean? # true; or nil and an error (`input_invalid`)
---@return noether.Error? # error
function noether.trace.write(path, records, opts) end

---Serve the Model Context Protocol until the client ends it: a tool `run_<language>` for each
---language (if they are not named, for TypeScript only where it can be had), one for each stage
---with a name in the executor's store, one for each function of the host. Both eras of the protocol
---are spoken. It waits on its two descriptors and does nothing else; at the end of the input all
---calls are ended.
---
---A function is called with the decoded arguments. It gives a JSON value (nothing is null), or nil
---and an error, or a task or process to wait for; what it raises is told to `log`, and to the
---client only that it failed.
---@param opts noether.McpOptions
---@return boolean? # true at the end of the input; or nil and an error (`input_invalid`: a schema is not of the subset, or two tools have one name; `spawn_failed`: no descriptor)
---@return noether.Error? # error
function noether.mcp.serve(opts) end

---Start a server of the Model Context Protocol, and have its tools as functions that stages can
---call: what the option `functions` takes. A tool's name is the function's, with `_` for what is
---no letter or digit. A call gives the tool's structured content, else its text; a tool that fails
---is a call that fails. Whoever waits for a call steps the server, so that nothing else must be
---done; it ends when it is closed, or nobody holds it or its functions any more.
---@param argv string[] the server and its arguments
---@param opts noether.McpFunctionsOptions
---@return table? # functions by name, each with `call`, `description` and, where it can be checked here, `input_schema`; or nil and an error (`spawn_failed`, `stage_failed`: it does not speak the protocol; `input_invalid`: it has no such tool; `timed_out`)
---@return table? # the server, with `close()`; or the error
function noether.mcp.functions(argv, opts) end

---What to tell a model of functions that its code may call.
---@param functions table as given to an executor or a call
---@param language string one that comes with the library and can call functions, as "python"
---@return string
function noether.functions_prompt(functions, language) end

---Run a program to its end.
---@param argv string[] as of spawn
---@param opts? noether.RunOptions as of spawn
---@return noether.Result? # the result, however it ended; or nil and an error if nothing ran
---@return noether.Error? # error
function noether.run(argv, opts) end

---Start a program.
---@param argv table the program (looked up on PATH if it has no slash) and its arguments
---@param opts? table `isolation` ("auto"), `require_isolation`, `loopback` (true), `env` (variables to add), `clear_env` (start from nothing; true in a sandbox), `cwd` (without a sandbox), `stdin` (text, `{ path }`, `{ fd, share }`, true for what `write` will give, or a function that returns the next piece, false if there is none before `feed` is called, nil at the end), `stdout`, `stderr` (`{ path }` or `{ fd, share }`; nil: the result), `on_stdout`, `on_stderr` (called with what comes, as it comes, by `step` and `wait`), `on_network` (likewise: called with host and port, where the list of the sandbox has a "?:port"; true lets the program connect), `timeout_secs` (none), `max_output_bytes` (10 MiB), `max_stderr_bytes` (64 KiB), `supervise` (true; false only without a sandbox), `launcher` (false), `sandbox` (a description, default: the system read-only and nothing else), `limits`
---@return table? # a process that runs; or nil and an error if none does
---@return table?
function noether.spawn(argv, opts) end

---Wait until one of several is over. For many, over and over, a set does it with less work.
---@param list (noether.Process|noether.Task)[] processes and tasks, in any mixture
---@param secs? number how long at most; nil is as long as it takes
---@return integer? # the position in `list` of one that is over; or nil and an error (`pending`, `spawn_failed`: no descriptor is left)
---@return noether.Error? # error
function noether.wait_any(list, secs) end

---Make a set of processes and tasks.
---@return noether.Set? # the set; or nil and an error (`spawn_failed`: no descriptor is left)
---@return noether.Error? # error
function noether.set() end

---Seconds on the monotonic clock, for measuring and for deadlines.
---@return number
function noether.clock() end

---SHA-256 in lower-case hexadecimal.
---@param bytes string
---@return string # 64 digits
function noether.sha256(bytes) end

---Marks a table as an array, so that it is encoded as one even if it is empty.
---The mark is a metatable, and a table that has another raises an error.
---@param t? table
---@return table # t itself
function noether.array(t) end

---A readable text for any value.
---@param value any anything
---@param depth? number how many tables deep to look
---@return string # Lua-like text, on several lines where one is too long; `<cycle>` where a table contains itself, `{...}` below the depth
function noether.inspect(value, depth) end

---Look at this machine. Nothing is changed. It mostly takes less than a second; a program that
---does not answer in `timeout_secs` is asked once more, with twice as much.
---@param opts? noether.DoctorOptions
---@return noether.Report # plain data, and readable text by `tostring`
function noether.doctor(opts) end

---Remove from the cache what was not used for long, while others may be using it. A use is noted
---to the day: an entry can stay a day longer than was asked for, and never goes earlier. What is
---needed again is made again. It takes as long as it takes to remove files; a program with an event
---loop had better start the command `noether prune`.
---@param opts? noether.PruneOptions
---@return noether.Pruned? # what went; nil with an error (`cache_failed`) if the cache cannot be used. Where there is none, nothing went
---@return noether.Error? # error
function noether.prune(opts) end

---Whether a value is an error of this library.
---@param value any anything
---@return boolean # whether
function noether.is_error(value) end

---Give the output or raise the error: `local out = noether.check(ex:execute(id, input))`.
---@param output any of a call that gives an output and an error
---@param err any of it
---@param ... any what came after
---@return any # the output
---@return any # the error, which is nil
function noether.check(output, err, ...) end

---Load all that is otherwise loaded when it is first used, for programs that later change their
---root, their directory or their user, or that fork.
function noether.preload() end

return noether
