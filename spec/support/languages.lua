-- SPDX-License-Identifier: MIT
--- Languages by the policy files of examples/policies/languages, and what they need to be tried:
-- `double` doubles the n of its input, `fails` fails with the word "mine" and, where `line` is
-- there, in that line. `effects` is what the interpreter needs to run at all; `log`: whether what
-- `double` prints is its log.
local M = {}

M.LANGUAGES = {
  { name = "deno", log = true, line = 2,
    double = "interface In { n: number }\nenum Of { Two = 2 }\n"
      .. "export async function execute(input: In) {\n"
      .. "  console.log('hello'); return input.n * Of.Two;\n}",
    fails = "export function execute(input: unknown) {\n  throw new RangeError('mine');\n}" },
  { name = "bun", log = true, line = 2,
    double = "interface In { n: number }\nenum Of { Two = 2 }\n"
      .. "export async function execute(input: In) {\n"
      .. "  console.log('hello'); return input.n * Of.Two;\n}",
    fails = "export function execute(input: unknown) {\n  throw new RangeError('mine');\n}" },
  { name = "ruby", log = true, line = 2,
    double = "def execute(input)\n  puts 'hello'\n  input['n'] * 2\nend",
    fails = "def execute(input)\n  raise ArgumentError, 'mine'\nend" },
  { name = "php", log = true, line = 2,
    double = "function execute($input) { echo 'hello'; return $input->n * 2; }",
    fails = "function execute($input) {\n  throw new LogicException('mine');\n}" },
  { name = "perl", log = true, line = 2,
    double = "use strict;\nsub execute { my ($input) = @_; print 'hello'; return $input->{n} * 2 }",
    fails = "sub execute {\n  die 'mine';\n}" },
  { name = "r", log = true, effects = { "Process" },
    double = "execute <- function(input) { print('hello'); input$n * 2 }",
    fails = "execute <- function(input) stop('mine')" },
  { name = "java",
    double = "import java.util.Scanner;\npublic class Double {\n"
      .. "  public static void main(String[] args) {\n"
      .. "    String text = new Scanner(System.in).useDelimiter(\"\\\\A\").next();\n"
      .. "    int n = Integer.parseInt(text.replaceAll(\"[^0-9]\", \"\"));\n"
      .. "    System.out.println(n * 2);\n  }\n}",
    fails = "public class Fails {\n  public static void main(String[] args) {\n"
      .. "    throw new IllegalStateException(\"mine\");\n  }\n}" },
  { name = "go", effects = { "Process" },
    double = "package main\nimport (\"encoding/json\"; \"fmt\"; \"os\")\nfunc main() {\n"
      .. "  var input struct{ N int }\n  json.NewDecoder(os.Stdin).Decode(&input)\n"
      .. "  fmt.Println(input.N * 2)\n}",
    fails = "package main\nfunc main() { panic(\"mine\") }" },
  { name = "sqlite",
    double = "SELECT json_extract(json, '$.n') * 2 FROM input;",
    fails = "SELECT mine FROM input;" },
  { name = "jq", double = ".n * 2", fails = "error(\"mine\")" },
}

return M
