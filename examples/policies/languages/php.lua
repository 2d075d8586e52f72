-- SPDX-License-Identifier: MIT
-- Stages in PHP: a function execute($input), to which objects are objects. What it prints is its
-- log; without display_errors=stderr what goes wrong would be printed into the answer.
local RUNNER = [[
<?php
ob_start(function ($text) { fwrite(STDERR, $text); return ''; }, 1);
$flags = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION;
$status = 0;
try {
    require __DIR__ . '/stage.php';
    $input = json_decode(stream_get_contents(STDIN), false, 512, JSON_THROW_ON_ERROR);
    $text = json_encode(execute($input), $flags | JSON_THROW_ON_ERROR);
} catch (Throwable $error) {
    $report = ['type' => get_class($error), 'message' => $error->getMessage(),
        'traceback' => (string) $error];
    if (str_ends_with($error->getFile(), '/stage.php')) $report['line'] = $error->getLine();
    $text = json_encode(['error' => $report], $flags | JSON_INVALID_UTF8_SUBSTITUTE);
    $status = 1;
}
ob_end_flush();
fwrite(STDOUT, $text . "\n");
exit($status);
]]

return {
  names = { "php" }, extension = "php",
  runtime = {
    programs = { "php" },
    probe = { "-r", "echo json_encode(['path' => realpath(PHP_BINARY), 'version' => PHP_VERSION,"
      .. " 'dirs' => [PHP_EXTENSION_DIR]]), \"\\n\";" },
  },
  wrap = function(code)
    if not code:find("^%s*<%?php") then code = "<?php " .. code end
    return { entry = "runner.php", files = { ["stage.php"] = code, ["runner.php"] = RUNNER } }
  end,
  -- Its own limit of 128 MiB is no limit of the run's.
  argv = function(runtime, entry)
    return { runtime.path, "-d", "display_errors=stderr", "-d", "html_errors=0",
      "-d", "memory_limit=-1", entry }
  end,
}
