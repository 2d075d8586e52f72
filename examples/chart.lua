-- SPDX-License-Identifier: MIT
-- A table goes in as a file; a number comes back as the answer, and a chart as a PNG. The code is
-- as a model writes it: it knows nothing of where its chart goes.
--
--     build/bin/noether-lua examples/chart.lua [DIRECTORY]
--
-- It needs a Python with matplotlib (Debian: python3-matplotlib).
local noether = require "noether"

local directory = arg and arg[1] or "."

local sales = { "month,euros" }
for month, euros in ipairs{ 120, 95, 140, 180, 160, 210 } do
  sales[#sales + 1] = ("2026-%02d,%d"):format(month, euros)
end

local code = [[
import csv
import matplotlib.pyplot as plt

def execute(input):
    rows = list(csv.DictReader(open("sales.csv")))
    months = [row["month"] for row in rows]
    euros = [int(row["euros"]) for row in rows]
    plt.bar(months, euros)
    plt.title("Sales")
    plt.show()
    return {"best": months[euros.index(max(euros))], "total": sum(euros)}
]]

local answer, err, info = noether.execute{
  language = "python", code = code, effects = {}, timeout_secs = 60,
  files = { ["sales.csv"] = table.concat(sales, "\n") .. "\n" },
  outputs = { "figure-*.png" }, output_dir = directory, output_overwrite = true,
}
if err then error(err) end

print(noether.inspect(answer))
for _, output in ipairs(info.outputs) do
  print(output.name, output.type, output.bytes > 1000)
end
