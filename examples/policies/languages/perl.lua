-- SPDX-License-Identifier: MIT
-- Stages in Perl: a sub execute($input). What it prints is its log.
local RUNNER = [[
use strict;
use warnings;
use JSON::PP;
use File::Basename;
open(my $answer, '>&', \*STDOUT) or die;
open(STDOUT, '>&', \*STDERR) or die;
my $json = JSON::PP->new->utf8->allow_nonref;
my $text = eval {
    local $/;
    my $input = $json->decode(scalar <STDIN>);
    my $file = dirname(__FILE__) . '/stage.pl';
    defined(do $file) || $@ eq '' || die $@;
    die "the code defines no sub named execute\n" unless defined &main::execute;
    $json->encode(scalar main::execute($input));
};
my $status = 0;
if (!defined $text) {
    my $message = "$@";
    my $report = { type => ref $@ || 'Died', message => $message, traceback => $message };
    $report->{line} = $1 + 0 if $message =~ /stage\.pl line (\d+)/;
    $text = $json->encode({ error => $report });
    $status = 1;
}
print {$answer} "$text\n";
exit $status;
]]

return {
  names = { "perl", "pl" }, extension = "pl",
  runtime = {
    programs = { "perl" },
    probe = { "-MConfig", "-MCwd=realpath", "-MJSON::PP", "-e",
      "print encode_json({ path => realpath($^X), version => sprintf('%vd', $^V),"
        .. " dirs => [grep { -d } @INC] })" },
  },
  wrap = function(code)
    return { entry = "runner.pl", files = { ["stage.pl"] = code, ["runner.pl"] = RUNNER } }
  end,
  argv = function(runtime, entry) return { runtime.path, entry } end,
}
