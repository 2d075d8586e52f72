# SPDX-License-Identifier: MIT
# The header of a program from before the last members of each struct.
/^    char message\[/d
s/NOE_FAULT_NONE, 0, "", ""/NOE_FAULT_NONE, 0, ""/
/^    uint64_t private_bytes;/,/^    uint64_t private_files;/d
/^    const char \*private_dir;/,/\*\/$/d
/^struct noe_stream {/,/^};/{
  /^    const char \*path;/d
}
/^    const struct noe_stream \*streams\[3\];/d
/^    int stream_code;/d
