# SPDX-License-Identifier: MIT
# `make help` lists the targets. Everything built lies under $(BUILD).

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
CFLAGS  ?= -O2 -g
LDFLAGS ?=
INSTALL ?= install

# The Lua that the module is built and installed for: 5.1 to 5.5 or luajit, or
# any name together with LUA_CFLAGS. `make luas` builds for all that are here.
LUA        ?= 5.4
LUA_CFLAGS ?= $(call lua_cflags,$(LUA))

# noether-lua has 5.4 inside, as Debian names its directories and archives.
LUA_ARCHIVE ?= -l:liblua5.4.a
LUA_MODULES ?= -l:liblua5.4-cjson.a -l:liblua5.4-lpeg.a
# Modules in Lua that go into it beside those of lua/noether (MIT).
LUA_EMBEDS  ?= /usr/share/lua/5.4/argparse.lua
CRYPTO      ?= -l:libmbedcrypto.a
SECCOMP     ?= -l:libseccomp.a
# What noether.redis is made of; without hiredis it only says that it lacks it.
HIREDIS     ?= -l:libhiredis.a
TLS         ?= -l:libmbedtls.a -l:libmbedx509.a -l:libmbedcrypto.a
EDIT        ?= -l:libedit.a -l:libtinfo.a -l:libbsd.a -l:libmd.a

# Where Lua looks for modules, below $(DESTDIR).
LUA_DIR    ?= $(PREFIX)/share/lua/$(LUA:luajit=5.1)
LUA_LIBDIR ?= $(PREFIX)/lib/lua/$(LUA:luajit=5.1)

# What reads the sources' doc comments while building, and what makes programs
# that run then: for another machine's processor, CC is another compiler.
HOST_LUA ?= lua5.4
HOST_CC  ?= $(CC)

# The supervisor is a static program of its own, with its own C library.
JAIL_CC     ?= musl-gcc
JAIL_CFLAGS ?= -Os

# How long each fuzzer runs in `make check-deep`, how many runs the soak has, and
# how many launchers are killed under runs of theirs.
FUZZ_SECS      ?= 20
SOAK_RUNS      ?= 100000
LAUNCHER_KILLS ?= 10000

# V=1 shows every command. Warnings are errors in CI. SANITIZE names
# sanitizers (see `make asan`).
WERROR   ?= $(if $(CI),1)
SANITIZE ?=
V        ?=

# No settings below this line.

VERSION := $(shell sed -n 's/^.define NOE_VERSION "\(.*\)"/\1/p' \
             include/noether.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))
SONAME    := libnoether.so.$(SOVERSION)

CORE_SOURCES    := $(sort $(wildcard src/core/*.c))
BASE_SOURCES    := $(sort $(wildcard src/base/*.c))
BINDING_SOURCES := $(sort $(wildcard src/binding/*.c))
CMD_SOURCES     := $(sort $(wildcard src/cmd/*.c))
REDIS_SOURCES   := $(sort $(wildcard src/redis/*.c))
# src/base is compiled for both, the supervisor and the core.
JAIL_SOURCES    := $(sort $(wildcard src/jail/*.c)) $(BASE_SOURCES)
# What a fork server loads: it confines itself as the jail confines a program.
FORK_SOURCES    := $(sort $(wildcard src/fork/*.c)) src/jail/program.c \
                   src/jail/confine.c src/jail/event.c src/jail/proc.c \
                   src/base/text.c
LUA_SOURCES     := $(sort $(shell find lua/noether -name '*.lua'))
# Other languages' files among them: runners, the page of a trace.
LUA_TEXTS       := $(sort $(shell find lua/noether -type f \
                     ! -name '*.lua' ! -name '.*' ! -name '*~'))
DOCUMENTS       := $(sort $(wildcard docs/*.md) $(shell find examples \
                     -type f ! -name '.*' ! -name '*~'))
DOCS_SOURCES    := $(sort $(wildcard tools/docs/*.lua))
TEST_SOURCES    := $(sort $(wildcard spec/c/*_test.c))
FUZZ_SOURCES    := $(sort $(wildcard spec/fuzz/*_fuzz.c))

# Each Lua, and where its headers are.
LUAS           := 5.1 5.2 5.3 5.4 5.5 luajit
HEADERS_luajit := /usr/include/luajit-2.1
HEADERS_5.5    := $(or $(wildcard /usr/include/lua5.5),build/lua5.5/include)
lua_headers     = $(or $(HEADERS_$(1)),/usr/include/lua$(1))
lua_cflags      = -I$(lua_headers)

Q := $(if $(V),,@)
SAY = @printf '  %-7s%s\n' $(1) $(@:$(BUILD)/%=%)

OBJ             := $(BUILD)/obj
JAIL_OBJECTS    := $(JAIL_SOURCES:%.c=$(OBJ)/jail/%.o)
FORK_OBJECTS    := $(FORK_SOURCES:%.c=$(OBJ)/fork/%.o)
binding_objects  = $(BINDING_SOURCES:src/binding/%.c=$(OBJ)/lua/$(1)/%.o)
BINDING_OBJECTS := $(call binding_objects,5.4)
redis_objects    = $(REDIS_SOURCES:src/redis/%.c=$(OBJ)/redis/$(1)/%.o)
CORE_OBJECTS    := $(CORE_SOURCES:%.c=$(OBJ)/%.o) \
                   $(BASE_SOURCES:%.c=$(OBJ)/%.o) $(OBJ)/gen/jail_image.o \
                   $(OBJ)/gen/fork_image.o
CMD_OBJECTS     := $(CMD_SOURCES:%.c=$(OBJ)/%.o) $(OBJ)/gen/embedded.o
TEST_PROGRAMS   := $(TEST_SOURCES:%.c=$(BUILD)/%)
FUZZERS         := $(FUZZ_SOURCES:%.c=$(BUILD)/%)
OBJECTS         := $(JAIL_OBJECTS) $(FORK_OBJECTS) $(CORE_OBJECTS) $(CMD_OBJECTS) \
                   $(foreach lua,$(sort $(LUAS) $(LUA)), \
                     $(call binding_objects,$(lua)) $(call redis_objects,$(lua)))

NOETHER_LUA := $(BUILD)/bin/noether-lua
NOETHER     := $(BUILD)/bin/noether
STATIC_LUA  := $(BUILD)/static/noether-lua
CHUNK       := $(OBJ)/gen/chunk
JAIL        := $(BUILD)/libexec/noether/jail
FORK_HELPER := $(OBJ)/fork/helper.so
core_module = $(BUILD)/lib/$(1)/noether/core.so
CORE_MODULE := $(call core_module,$(LUA))
redis_module = $(BUILD)/lib/$(1)/noether/redis.so
REDIS_MODULE := $(call redis_module,$(LUA))
STATIC_LIB  := $(BUILD)/lib/libnoether.a
SHARED_LIB  := $(BUILD)/lib/libnoether.so
PKG_CONFIG  := $(BUILD)/lib/pkgconfig/noether.pc
APPARMOR    := $(BUILD)/share/noether/apparmor.d/noether-lua
COMPLETIONS := $(BUILD)/share/completions/noether.bash \
               $(BUILD)/share/completions/noether.zsh \
               $(BUILD)/share/completions/noether.fish
MANUAL      := man/noether.1 man/noether-lua.1
REFERENCE   := $(OBJ)/gen/lua/noether/reference.lua
OUTPUTS     := $(NOETHER_LUA) $(NOETHER) $(call core_module,5.4) $(CORE_MODULE) \
               $(call redis_module,5.4) $(REDIS_MODULE) $(STATIC_LIB) \
               $(SHARED_LIB) $(PKG_CONFIG) $(APPARMOR) $(JAIL) $(COMPLETIONS)
SUPPORT     := $(BUILD)/spec/support/posix.so $(BUILD)/spec/support/pty.so \
               $(BUILD)/spec/support/clock.so $(BUILD)/spec/faults/inject.so
FLOOR       := $(BUILD)/bench/floor.so
NOTHING     := $(BUILD)/bench/nothing

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wformat=2 $(if $(WERROR),-Werror)
INCLUDES := -Iinclude -Isrc

ifeq ($(SANITIZE),)
HARDENING := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
else
HARDENING := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
             -fno-omit-frame-pointer
endif
LINK_HARDENING := -Wl,-z,relro -Wl,-z,now -Wl,--as-needed \
                  $(if $(SANITIZE),-fsanitize=$(SANITIZE))

# GCC 12, Debian 12's own, may lose a store to a member of a large local struct
# just before the struct is copied. No such place is known here; what it would
# optimise by that is nothing that can be measured.
# Asked when the first file is compiled: until then there may be no compiler.
is_gcc_12 = $(filter 12-,$(shell echo __GNUC__-__clang__ | $(1) -E -P - | \
              sed 's/ *- */-/; s/-__clang__/-/'))
safely    = $(if $(is_gcc_12),-fno-dse -fno-tree-dse)
SAFE_CC   = $(eval SAFE_CC := $(call safely,$(CC)))$(SAFE_CC)
SAFE_JAIL_CC = $(eval SAFE_JAIL_CC := $(call safely,$(JAIL_CC)))$(SAFE_JAIL_CC)

COMPILE = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread \
           $(INCLUDES) $(WARNINGS) $(HARDENING) $(SAFE_CC) $(CFLAGS)
LINK    := -pthread $(LINK_HARDENING) $(CFLAGS) $(LDFLAGS)

# musl's headers come first; the kernel's are looked for after them. Sections
# and notes that only a debugger reads would be copied into every run.
JAIL_COMPILE = -std=c11 -D_GNU_SOURCE -static -fno-pie \
               -ffunction-sections -fdata-sections \
               -fno-asynchronous-unwind-tables $(INCLUDES) $(WARNINGS) \
               -idirafter /usr/include \
               -idirafter /usr/include/$(shell $(JAIL_CC) -print-multiarch) \
               $(SAFE_JAIL_CC) $(JAIL_CFLAGS)
JAIL_LINK    = -static -no-pie -s -Wl,--gc-sections -Wl,--build-id=none \
               -Wl,-z,noseparate-code -Wl,-z,norelro

# Lives in an interpreter with a C library of its own, and uses that.
FORK_COMPILE = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden \
               -ffunction-sections -fdata-sections -fno-stack-protector \
               -fno-optimize-sibling-calls -U_FORTIFY_SOURCE \
               -fno-asynchronous-unwind-tables $(INCLUDES) $(WARNINGS) \
               -idirafter /usr/include \
               -idirafter /usr/include/$(shell $(JAIL_CC) -print-multiarch) \
               $(SAFE_JAIL_CC) $(JAIL_CFLAGS)
FORK_LINK    = -shared -nostdlib -nostartfiles -s -Wl,--gc-sections \
               -Wl,--build-id=none -Wl,--hash-style=both -Wl,-z,noexecstack \
               -Wl,-z,relro -Wl,-z,now

# These goals install what they need, before anything is compiled.
GOAL  := $(firstword $(filter demo test test-hosts asan faults check-deep \
           check-packages bench bench-compare coverage docs deb soak,$(MAKECMDGOALS)))
SETUP := $(if $(GOAL),deps)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all static luas help deps demo test test-hosts tests spec types docs check-layers \
        lint asan faults check-deep check-packages soak abi man interpreters \
        bench bench-compare \
        coverage install install-lua install-programs uninstall dist deb clean \
        FORCE

all: $(OUTPUTS) ## build everything (the default)

# Those whose headers were not found here are named, and are no failure. After
# all, which makes what each of them needs: two makes at once would make it twice.
luas: all $(SETUP) ## build the module for every Lua that is installed
	+@here=; for lua in $(foreach lua,$(LUAS),$(lua)=$(call lua_headers,$(lua))); do \
	  if [ -e "$${lua#*=}/lua.h" ]; then \
	    for name in core redis; do \
	      here="$$here $(BUILD)/lib/$${lua%%=*}/noether/$$name.so"; done; \
	  elif [ -n '$(filter luas,$(MAKECMDGOALS))' ]; then \
	    echo "luas: there are no headers of Lua $${lua%%=*}"; fi; \
	done; $(MAKE) --no-print-directory -s $$here

static: $(STATIC_LUA) ## build/static/noether-lua, which needs no library of its machine

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \t\2/p' Makefile | \
	  expand -t 22

# Files that change when what they hold does, so that nothing is kept from
# another compiler, other flags or another prefix.
REMEMBER = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@

$(OBJ)/flags: FORCE
	$(call REMEMBER,$(CC) $(COMPILE) $(LUA_CFLAGS) $(JAIL_CC) $(JAIL_CFLAGS))

$(OBJ)/prefix: FORCE
	$(call REMEMBER,$(PREFIX))

# Looked for when it is used: it may be installed only now. (Within $(shell) make
# leaves the backslash that its own sign of a comment needs.)
HASH        := \#
with_hiredis = $(shell echo '$(HASH)include <hiredis/hiredis.h>' | \
                 $(CC) -E -x c - >/dev/null 2>&1 && echo '$(1)')

$(OBJ)/hiredis: FORCE | $(SETUP)
	$(call REMEMBER,$(call with_hiredis,$(HIREDIS)))

$(OBJECTS) $(TEST_PROGRAMS) $(SUPPORT) $(FLOOR) \
$(FUZZERS): $(OBJ)/flags | $(SETUP)

$(OBJ)/jail/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,JAILCC)
	$(Q)$(JAIL_CC) $(JAIL_COMPILE) -MMD -MP -c -o $@ $<

$(OBJ)/fork/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,FORKCC)
	$(Q)$(JAIL_CC) $(FORK_COMPILE) -MMD -MP -c -o $@ $<

$(OBJ)/src/base/%.o: src/base/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) -MMD -MP -c -o $@ $<

$(OBJ)/src/core/%.o: src/core/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) -MMD -MP -c -o $@ $<

# The module for one Lua. (The path is where the supervisor is when the kernel
# refuses to run it from memory.)
define FOR_LUA
$(OBJ)/lua/$(1)/%.o: src/binding/%.c $(OBJ)/prefix
	@mkdir -p $$(@D)
	$$(call SAY,CC)
	$$(Q)$$(CC) $$(COMPILE) $$(if $$(filter $(LUA),$(1)),$$(LUA_CFLAGS), \
	  $$(call lua_cflags,$(1))) \
	  -DNOE_JAIL_PATH='"$$(PREFIX)/libexec/noether/jail"' -MMD -MP -c -o $$@ $$<

$(call core_module,$(1)): $(call binding_objects,$(1)) $$(CORE_OBJECTS) \
                          tools/build/core.exports
	@mkdir -p $$(@D)
	$$(call SAY,LD)
	$$(Q)$$(CC) -shared $$(LINK) \
	  -Wl,--version-script=tools/build/core.exports -o $$@ \
	  $$(filter %.o,$$^) $$(CRYPTO) $$(SECCOMP)
endef

define REDIS_FOR_LUA
$(OBJ)/redis/$(1)/%.o: src/redis/%.c $(OBJ)/hiredis
	@mkdir -p $$(@D)
	$$(call SAY,CC)
	$$(Q)$$(CC) $$(COMPILE) $$(if $$(filter $(LUA),$(1)),$$(LUA_CFLAGS), \
	  $$(call lua_cflags,$(1))) $$(call with_hiredis,-DHAS_HIREDIS) -MMD -MP -c -o $$@ $$<

$(call redis_module,$(1)): $(call redis_objects,$(1)) tools/build/core.exports
	@mkdir -p $$(@D)
	$$(call SAY,LD)
	$$(Q)$$(CC) -shared $$(LINK) \
	  -Wl,--version-script=tools/build/core.exports -o $$@ \
	  $$(filter %.o,$$^) $$(call with_hiredis,$$(HIREDIS)) $$(TLS)
endef

$(foreach lua,$(sort $(LUAS) $(LUA)),$(eval $(call FOR_LUA,$(lua))) \
  $(eval $(call REDIS_FOR_LUA,$(lua))))

$(OBJ)/src/cmd/%.o: src/cmd/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) $(call lua_cflags,5.4) -MMD -MP -c -o $@ $<

$(OBJ)/gen/%.o: $(OBJ)/gen/%.c
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) -Isrc/cmd -c -o $@ $<

-include $(OBJECTS:.o=.d) $(TEST_PROGRAMS:=.d)

$(JAIL): $(JAIL_OBJECTS)
	@mkdir -p $(@D)
	$(call SAY,JAILLD)
	$(Q)$(JAIL_CC) $(JAIL_CFLAGS) $(JAIL_LINK) -o $@ $(JAIL_OBJECTS)

$(FORK_HELPER): $(FORK_OBJECTS)
	$(call SAY,FORKLD)
	$(Q)$(JAIL_CC) $(FORK_LINK) -o $@ $(FORK_OBJECTS)

$(OBJ)/gen/fork_image.c: $(FORK_HELPER) tools/build/embed.sh
	@mkdir -p $(@D)
	$(call SAY,EMBED)
	$(Q)tools/build/embed.sh bytes noe_fork_image $(FORK_HELPER) >$@

$(OBJ)/gen/jail_image.c: $(JAIL) tools/build/embed.sh
	@mkdir -p $(@D)
	$(call SAY,EMBED)
	$(Q)tools/build/embed.sh bytes noe_jail_image $(JAIL) >$@

# What the doc comments say, for help() in the interpreter. The directories
# too: a file that is taken away changes only them.
$(REFERENCE): $(LUA_SOURCES) $(sort $(dir $(LUA_SOURCES))) $(DOCS_SOURCES) \
              $(wildcard docs/*.md) include/noether.h | $(SETUP)
	@mkdir -p $(@D)
	$(call SAY,DOCS)
	$(Q)$(HOST_LUA) tools/docs/generate.lua reference >$@

# What compiles the modules inside, by the Lua that will run them.
$(CHUNK): tools/build/chunk.c | $(SETUP)
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(HOST_CC) $(filter-out -fsanitize=%,-pie $(COMPILE) $(LINK)) \
	  $(call lua_cflags,5.4) -o $@ $< $(LUA_ARCHIVE) -lm -ldl

# What comes from elsewhere may be installed only now.
$(OBJ)/gen/embedded.c: $(LUA_SOURCES) $(LUA_TEXTS) $(REFERENCE) \
                       $(wildcard $(LUA_EMBEDS)) $(CHUNK) tools/build/embed.sh | $(SETUP)
	@mkdir -p $(@D)
	$(call SAY,EMBED)
	$(Q)tools/build/embed.sh lua $(CHUNK) lua $(LUA_SOURCES) $(LUA_TEXTS) \
	  $(LUA_EMBEDS) -- $(OBJ)/gen/lua $(REFERENCE) >$@

$(PKG_CONFIG): tools/pack/noether.pc.in include/noether.h $(OBJ)/prefix
	@mkdir -p $(@D)
	$(call SAY,SED)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

$(APPARMOR): tools/pack/apparmor.in $(OBJ)/prefix
	@mkdir -p $(@D)
	$(call SAY,SED)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' $< >$@

$(STATIC_LIB): $(CORE_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	$(call SAY,AR)
	$(Q)$(AR) rcs $@ $(CORE_OBJECTS)

$(SHARED_LIB).$(VERSION): $(CORE_OBJECTS)
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -shared $(LINK) -Wl,-soname,$(SONAME) -Wl,-z,defs -o $@ \
	  $(CORE_OBJECTS) -lmbedcrypto -lseccomp

$(SHARED_LIB): $(SHARED_LIB).$(VERSION)
	@ln -sf $(notdir $<) $(@D)/$(SONAME)
	@ln -sf $(SONAME) $@

INSIDE      := $(CMD_OBJECTS) $(BINDING_OBJECTS) $(CORE_OBJECTS) \
               $(call redis_objects,5.4)
INSIDE_LIBS  = $(LUA_MODULES) $(call with_hiredis,$(HIREDIS)) $(TLS) $(CRYPTO) \
               $(SECCOMP) $(EDIT) -lm -ldl

# The whole of Lua, used here or not: C modules that are loaded may call it.
$(NOETHER_LUA): $(INSIDE) tools/build/noether-lua.exports
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -pie $(LINK) -Wl,--dynamic-list=tools/build/noether-lua.exports -o $@ \
	  $(INSIDE) -Wl,--whole-archive $(LUA_ARCHIVE) -Wl,--no-whole-archive \
	  $(INSIDE_LIBS)

# For systems with another C library, or an older one, or none. What the linker
# warns of it says of names and modules: it looks names up by other programs, and
# modules in C from elsewhere it cannot load.
$(STATIC_LUA): $(INSIDE)
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -static-pie $(LINK) -o $@ $(INSIDE) $(LUA_ARCHIVE) $(INSIDE_LIBS)
	@ln -sf noether-lua $(@D)/noether

# The same file: it does what its name says.
$(NOETHER): $(NOETHER_LUA)
	$(call SAY,LN)
	$(Q)ln -sf noether-lua $@

$(BUILD)/share/completions/noether.%: $(NOETHER)
	@mkdir -p $(@D)
	$(call SAY,GEN)
	$(Q)$(NOETHER) completion $* >$@

$(BUILD)/spec/c/%_test: spec/c/%_test.c $(STATIC_LIB)
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -pie $(COMPILE) -I$(BUILD)/spec $(LINK) -MMD -MP -MF $@.d -o $@ $< \
	  $(STATIC_LIB) $(CRYPTO) $(SECCOMP)

# What programs see that were built before, or after, structs have grown.
$(BUILD)/spec/abi/%.h: spec/abi/%.sed include/noether.h
	@mkdir -p $(@D)
	$(call SAY,SED)
	$(Q)sed -f $< include/noether.h >$@

$(BUILD)/spec/c/abi_older_test: $(BUILD)/spec/abi/older.h
$(BUILD)/spec/c/abi_newer_test: $(BUILD)/spec/abi/newer.h

$(BUILD)/spec/fuzz/%_fuzz: spec/fuzz/%_fuzz.c $(CORE_SOURCES) $(BASE_SOURCES) \
                           $(OBJ)/gen/jail_image.c $(OBJ)/gen/fork_image.c
	@mkdir -p $(@D)
	$(call SAY,FUZZ)
	$(Q)clang -std=c11 -D_GNU_SOURCE -g -O1 $(INCLUDES) \
	  -fsanitize=fuzzer,address,undefined -Wl,--allow-multiple-definition \
	  -o $@ $< $(CORE_SOURCES) $(BASE_SOURCES) \
	  $(OBJ)/gen/jail_image.c $(OBJ)/gen/fork_image.c $(CRYPTO) $(SECCOMP)

# What Lua alone cannot do, and the specs and the bench need.
$(SUPPORT) $(FLOOR): $(BUILD)/%.so: %.c
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -shared $(filter-out -fsanitize=%,$(COMPILE) $(LINK)) \
	  -fvisibility=default $(call lua_cflags,5.4) -o $@ $<

# It defines the C library's calls, and is loaded into programs without Lua.
$(BUILD)/spec/faults/inject.so: private COMPILE += -U_FORTIFY_SOURCE -fno-builtin
$(BUILD)/spec/faults/inject.so: private LINK += -Wl,-z,lazy

deps: ## install what building and testing need (Debian; asks apt-get)
	@tools/build/deps.sh $(or $(GOAL),test)

demo: deps all ## install what is missing, build, run stages in three languages
	@$(NOETHER_LUA) examples/hello.lua

test: deps all luas check-layers tests ## install what is missing, build, test all
	@tools/test/syntax.sh
	@tools/test/luas.sh $(BUILD)
	@tools/test/test.sh $(BUILD)

test-hosts: deps all luas ## run the examples in nginx, Neovim, HAProxy and others
	@tools/test/hosts.sh $(BUILD) $(HOSTS)

tests: $(TEST_PROGRAMS) $(SUPPORT)

spec: $(NOETHER) $(SUPPORT) luas ## run the specs, or only FILE=spec/x_spec.lua
	@SPEC_SANITIZED=$(if $(SANITIZE),1) tools/test/spec.sh $(BUILD) $(FILE)

types: ## write types/noether.lua anew, from the sources' doc comments
	$(Q)$(HOST_LUA) tools/docs/generate.lua types >types/noether.lua

docs: $(SETUP) ## write docs/api, HTML pages of the doc comments
	$(Q)tools/docs/ldoc.sh $(HOST_LUA) docs/api

check-layers: $(NOETHER_LUA) ## refuse a dependency that points the wrong way
	@$(NOETHER_LUA) tools/test/check-layers.lua .

lint: ## check layout and style of C, Lua and shell
	@tools/build/deps.sh lint
	@tools/test/lint.sh

# The same Makefile with other settings: what follows is built twice.
WITH_ASAN := $(MAKE) --no-print-directory BUILD=$(BUILD)/asan \
             SANITIZE=address,undefined CFLAGS='-O1 -g'

asan: $(SETUP) ## the C tests and what drives C under ASan and UBSan (SPEC_OVER=all: all)
	+@$(WITH_ASAN) all luas tests
	@SPEC_SANITIZED=1 tools/test/test.sh $(BUILD)/asan --once

check-deep: all tests faults check-packages $(FUZZERS) ## what takes long
	@tools/test/lint.sh deep
	@tools/test/abi.sh check $(BUILD)
	@tools/build/lua55.sh build/lua5.5
	+@$(MAKE) --no-print-directory luas
	@tools/test/syntax.sh
	@tools/test/luas.sh $(BUILD) 5.5
	@for name in $(notdir $(FUZZERS:_fuzz=)); do \
	  found=$(BUILD)/spec/fuzz/$$name.found; mkdir -p $$found; \
	  $(BUILD)/spec/fuzz/$${name}_fuzz -max_total_time=$(FUZZ_SECS) \
	    -verbosity=0 -artifact_prefix=$(BUILD)/ \
	    $$found spec/fuzz/corpus/$$name || exit 1; \
	done
	@$(BUILD)/spec/c/launcher_test $(LAUNCHER_KILLS)
	@SPEC_OVER=all tools/test/test.sh $(BUILD)
	+@SPEC_OVER=all $(MAKE) --no-print-directory asan
	@SPEC_OVER=all SPEC_COLLECTOR=always tools/test/test.sh $(BUILD) --once
	@SPEC_START=spare tools/test/spec.sh $(BUILD) spec/policy/python_spec.lua \
	  spec/policy/javascript_spec.lua spec/policy/bash_spec.lua
	@tools/test/spec.sh $(BUILD) spec/browser/trace.lua
	@tools/test/programs.sh $(BUILD)
	@tools/test/spec.sh $(BUILD) spec/deep/forks.lua
	@tools/test/spec.sh $(BUILD) spec/deep/mcp.lua
	@tools/test/languages.sh $(BUILD) spec
	+@$(MAKE) --no-print-directory static
	@tools/test/static.sh $(BUILD)
	@FLEET_ROUNDS=500 tools/test/spec.sh $(BUILD) spec/fleet/faults_spec.lua
	@tools/test/two-machines.sh $(BUILD)
	@tools/test/bare.sh $(BUILD)/bare
	@tools/test/vm.sh $(BUILD)
	@tools/test/mcp-clients.sh $(BUILD) $(BUILD)/mcp-clients
	@$(NOETHER_LUA) spec/support/soak.lua $(SOAK_RUNS)

faults: all tests ## break calls, allocations and hosts on purpose
	@tools/build/deps.sh faults
	@tools/test/faults.sh $(BUILD) long

soak: $(NOETHER_LUA) $(SUPPORT) ## SOAK_RUNS (100000) runs of every shape; nothing may be left
	@$(NOETHER_LUA) spec/support/soak.lua $(SOAK_RUNS)

$(NOTHING): bench/nothing.c
	@mkdir -p $(@D)
	$(call SAY,JAILLD)
	$(Q)$(JAIL_CC) -static -Os -s -o $@ $<

# The supervisor has no counters: it has no place to write them to.
WITH_COUNTERS := $(MAKE) --no-print-directory BUILD=$(BUILD)/coverage \
                 CFLAGS='-O0 -g --coverage'

# Whether they pass is for make test to say.
coverage: $(SETUP) ## which part of each source the tests run
	+@$(WITH_COUNTERS) all tests
	@rm -rf $(BUILD)/coverage/lines; mkdir -p $(BUILD)/coverage/lines
	@find $(BUILD)/coverage -name '*.gcda' -delete
	-@SPEC_OVER=all SPEC_COVERAGE=$(abspath $(BUILD))/coverage/lines \
	  tools/test/test.sh $(BUILD)/coverage --once
	@$(HOST_LUA) tools/test/coverage.lua $(BUILD)/coverage $(BUILD)/coverage/lines

bench: $(NOETHER_LUA) $(FLOOR) $(NOTHING) ## measure, and write build/bench.json
	@BENCH_BUILD=$(BUILD) $(NOETHER_LUA) bench/run.lua $(BUILD)/bench.json

bench-compare: $(NOETHER_LUA) $(FLOOR) $(NOTHING) ## measure against bench/baseline.json's commit, in turns
	@tools/test/bench-compare.sh $(BUILD) $(PARTS)

abi: $(SHARED_LIB) ## write spec/abi/baseline.xml anew: at a release only
	@tools/test/abi.sh write $(BUILD)

interpreters: all ## measure the languages of this machine: docs/interpreters.md
	@tools/test/languages.sh $(BUILD) interpreters

man: $(NOETHER_LUA) ## write man/noether.1 anew, from what the command says
	@$(NOETHER_LUA) tools/docs/man.lua >man/noether.1

# The Lua module alone: also what LuaRocks installs.
install-lua: $(CORE_MODULE) $(REDIS_MODULE)
	$(INSTALL) -d '$(DESTDIR)$(LUA_LIBDIR)/noether'
	$(INSTALL) -m 755 $(CORE_MODULE) $(REDIS_MODULE) '$(DESTDIR)$(LUA_LIBDIR)/noether'
	@for file in $(LUA_SOURCES:lua/%=%) $(LUA_TEXTS:lua/%=%); do \
	  $(INSTALL) -D -m 644 lua/$$file '$(DESTDIR)$(LUA_DIR)'/$$file || exit 1; \
	done

install: install-lua install-programs ## install under DESTDIR and PREFIX (/usr/local)

install-programs: all
	$(INSTALL) -D -m 755 $(NOETHER_LUA) '$(DESTDIR)$(PREFIX)/bin/noether-lua'
	ln -sf noether-lua '$(DESTDIR)$(PREFIX)/bin/noether'
	$(INSTALL) -D -m 755 $(JAIL) '$(DESTDIR)$(PREFIX)/libexec/noether/jail'
	$(INSTALL) -D -m 644 include/noether.h \
	  '$(DESTDIR)$(PREFIX)/include/noether.h'
	$(INSTALL) -D -m 644 $(PKG_CONFIG) \
	  '$(DESTDIR)$(PREFIX)/lib/pkgconfig/noether.pc'
	$(INSTALL) -m 644 $(STATIC_LIB) '$(DESTDIR)$(PREFIX)/lib'
	$(INSTALL) -D -m 644 $(APPARMOR) \
	  '$(DESTDIR)$(PREFIX)/share/noether/apparmor.d/noether-lua'
	@for page in $(MANUAL); do \
	  $(INSTALL) -D -m 644 -t '$(DESTDIR)$(PREFIX)/share/man/man1' $$page || exit 1; \
	done
	$(INSTALL) -D -m 644 $(BUILD)/share/completions/noether.bash \
	  '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/noether'
	$(INSTALL) -D -m 644 $(BUILD)/share/completions/noether.zsh \
	  '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_noether'
	$(INSTALL) -D -m 644 $(BUILD)/share/completions/noether.fish \
	  '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/noether.fish'
	@for file in README.md SECURITY.md CHANGELOG.md $(DOCUMENTS); do \
	  $(INSTALL) -D -m 644 $$file \
	    '$(DESTDIR)$(PREFIX)/share/doc/noether'/$$file || exit 1; \
	done
	$(INSTALL) -m 755 $(SHARED_LIB).$(VERSION) '$(DESTDIR)$(PREFIX)/lib'
	ln -sf libnoether.so.$(VERSION) '$(DESTDIR)$(PREFIX)/lib/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(PREFIX)/lib/libnoether.so'

uninstall: ## remove what install put there
	rm -rf '$(DESTDIR)$(LUA_DIR)/noether' '$(DESTDIR)$(LUA_LIBDIR)/noether' \
	  '$(DESTDIR)$(PREFIX)/libexec/noether' \
	  '$(DESTDIR)$(PREFIX)/share/doc/noether' \
	  '$(DESTDIR)$(PREFIX)/share/noether'
	rm -f '$(DESTDIR)$(PREFIX)/bin/noether-lua' \
	  '$(DESTDIR)$(PREFIX)/bin/noether' \
	  '$(DESTDIR)$(PREFIX)/include/noether.h' \
	  '$(DESTDIR)$(PREFIX)/lib/pkgconfig/noether.pc' \
	  '$(DESTDIR)$(PREFIX)'/lib/libnoether.a \
	  '$(DESTDIR)$(PREFIX)'/lib/libnoether.so* \
	  $(MANUAL:man/%='$(DESTDIR)$(PREFIX)'/share/man/man1/%) \
	  '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/noether' \
	  '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_noether' \
	  '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/noether.fish'

dist: ## pack what is committed: build/noether-VERSION.tar.gz
	@tools/pack/dist.sh $(VERSION) $(BUILD)/noether-$(VERSION).tar.gz

# A build of its own: the prefix is written into programs.
WITH_DEB := $(MAKE) --no-print-directory BUILD=$(BUILD)/deb PREFIX=/usr \
            CFLAGS='-O2 -g -ffile-prefix-map=$(CURDIR)=.'

# 5.1 is LuaJIT's, too, which looks in the directory of the architecture alone.
DEB_LUAS := 5.1 5.2 5.3 5.4

deb: $(SETUP) ## make Debian packages: build/noether_*.deb, and one for each Lua
	+@$(WITH_DEB) all $(foreach lua,$(DEB_LUAS), \
	  $(BUILD)/deb/lib/$(lua)/noether/core.so \
	  $(BUILD)/deb/lib/$(lua)/noether/redis.so)
	@rm -rf $(BUILD)/deb/root $(BUILD)/deb/root-*
	+@$(WITH_DEB) install-programs DESTDIR=$(abspath $(BUILD)/deb/root) >/dev/null
	@tools/pack/deb.sh $(VERSION) $(BUILD)/deb/root $(BUILD)
	+@for lua in $(DEB_LUAS); do \
	  $(WITH_DEB) install-lua LUA=$$lua DESTDIR=$(abspath $(BUILD)/deb)/root-$$lua \
	    LUA_DIR=/usr/share/lua/$$lua \
	    LUA_LIBDIR=/usr/lib/$(shell $(CC) -print-multiarch)/lua/$$lua >/dev/null && \
	  tools/pack/deb.sh $(VERSION) $(BUILD)/deb/root-$$lua $(BUILD) $$lua || \
	    exit 1; \
	done

check-packages: deb ## try the Debian packages and the rockspec (as root)
	@rm -rf $(BUILD)/deb/first && mkdir $(BUILD)/deb/first
	@cp $(BUILD)/*noether_$(VERSION)_*.deb $(BUILD)/deb/first
	+@$(MAKE) --no-print-directory deb >/dev/null
	@for file in $(BUILD)/deb/first/*; do \
	  cmp "$$file" "$(BUILD)/$${file##*/}" || exit 1; \
	done
	@tools/pack/check-deb.sh $(BUILD)/deb/first $(BUILD)/deb/check
	@tools/pack/check-rock.sh $(BUILD)/rock

clean: ## remove what was built
	rm -rf $(BUILD)
