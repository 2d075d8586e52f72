# SPDX-License-Identifier: MIT
# `make help` lists the targets. Everything built lies under $(BUILD).

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
CFLAGS  ?= -O2 -g
LDFLAGS ?=
INSTALL ?= install

# The Lua that is built for, as Debian names its directories and archives.
LUA_VERSION ?= 5.4
LUA_CFLAGS  ?= -I/usr/include/lua$(LUA_VERSION)
LUA_ARCHIVE ?= -l:liblua$(LUA_VERSION).a
LUA_MODULES ?= -l:liblua$(LUA_VERSION)-cjson.a -l:liblua$(LUA_VERSION)-lpeg.a
# Modules in Lua that go into noether-lua beside those of lua/noether (MIT).
LUA_EMBEDS  ?= /usr/share/lua/$(LUA_VERSION)/argparse.lua
CRYPTO      ?= -l:libmbedcrypto.a
SECCOMP     ?= -l:libseccomp.a
EDIT        ?= -l:libedit.a -l:libtinfo.a -l:libbsd.a -l:libmd.a

# Where Lua looks for modules, below $(DESTDIR).
LUA_DIR    ?= $(PREFIX)/share/lua/$(LUA_VERSION)
LUA_LIBDIR ?= $(PREFIX)/lib/lua/$(LUA_VERSION)

# What reads the sources' doc comments while building.
HOST_LUA ?= lua$(LUA_VERSION)

# The supervisor is a static program of its own, with its own C library.
JAIL_CC     ?= musl-gcc
JAIL_CFLAGS ?= -Os

# How long each fuzzer runs in `make check-deep`, and how many runs the soak has.
FUZZ_SECS ?= 20
SOAK_RUNS ?= 100000

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
BINDING_SOURCES := $(sort $(wildcard src/binding/*.c))
MAIN_SOURCES    := $(sort $(wildcard src/*.c))
# What the supervisor and the core share is compiled for both.
JAIL_SOURCES    := $(sort $(wildcard src/jail/*.c)) src/core/fd.c \
                   src/core/text.c src/core/tree.c
LUA_SOURCES     := $(sort $(shell find lua/noether -name '*.lua'))
DOCS_SOURCES    := tools/docs.lua $(sort $(wildcard tools/docs/*.lua))
TEST_SOURCES    := $(sort $(wildcard spec/c/*_test.c))
FUZZ_SOURCES    := $(sort $(wildcard spec/fuzz/*_fuzz.c))

Q := $(if $(V),,@)
SAY = @printf '  %-7s%s\n' $(1) $(@:$(BUILD)/%=%)

OBJ             := $(BUILD)/obj
JAIL_OBJECTS    := $(JAIL_SOURCES:%.c=$(OBJ)/jail/%.o)
BINDING_OBJECTS := $(BINDING_SOURCES:%.c=$(OBJ)/%.o)
CORE_OBJECTS    := $(CORE_SOURCES:%.c=$(OBJ)/%.o) $(OBJ)/gen/jail_image.o
MAIN_OBJECTS    := $(MAIN_SOURCES:%.c=$(OBJ)/%.o) $(OBJ)/gen/embedded.o
TEST_PROGRAMS   := $(TEST_SOURCES:%.c=$(BUILD)/%)
FUZZERS         := $(FUZZ_SOURCES:%.c=$(BUILD)/%)
OBJECTS         := $(JAIL_OBJECTS) $(BINDING_OBJECTS) $(CORE_OBJECTS) \
                   $(MAIN_OBJECTS)

NOETHER_LUA := $(BUILD)/bin/noether-lua
NOETHER     := $(BUILD)/bin/noether
CHUNK       := $(OBJ)/gen/chunk
JAIL        := $(BUILD)/libexec/noether/jail
CORE_MODULE := $(BUILD)/lib/noether/core.so
STATIC_LIB  := $(BUILD)/lib/libnoether.a
SHARED_LIB  := $(BUILD)/lib/libnoether.so
PKG_CONFIG  := $(BUILD)/lib/pkgconfig/noether.pc
APPARMOR    := $(BUILD)/share/noether/apparmor.d/noether-lua
COMPLETIONS := $(BUILD)/share/completions/noether.bash \
               $(BUILD)/share/completions/noether.zsh \
               $(BUILD)/share/completions/noether.fish
MANUAL      := man/noether.1 man/noether-lua.1
REFERENCE   := $(OBJ)/gen/lua/noether/reference.lua
OUTPUTS     := $(NOETHER_LUA) $(NOETHER) $(CORE_MODULE) $(STATIC_LIB) \
               $(SHARED_LIB) $(PKG_CONFIG) $(APPARMOR) $(JAIL) $(COMPLETIONS)
SUPPORT     := $(BUILD)/spec/support.so $(BUILD)/spec/pty.so $(BUILD)/spec/faults/inject.so
FLOOR       := $(BUILD)/bench/floor.so

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

COMPILE := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread \
           $(INCLUDES) $(WARNINGS) $(HARDENING) $(CFLAGS)
LINK    := -pthread $(LINK_HARDENING) $(CFLAGS) $(LDFLAGS)

# musl's headers come first; the kernel's are looked for after them. Sections
# and notes that only a debugger reads would be copied into every run.
JAIL_COMPILE = -std=c11 -D_GNU_SOURCE -static -fno-pie \
               -ffunction-sections -fdata-sections \
               -fno-asynchronous-unwind-tables $(INCLUDES) $(WARNINGS) \
               -idirafter /usr/include \
               -idirafter /usr/include/$(shell $(JAIL_CC) -print-multiarch) \
               $(JAIL_CFLAGS)
JAIL_LINK    = -static -no-pie -s -Wl,--gc-sections -Wl,--build-id=none \
               -Wl,-z,noseparate-code -Wl,-z,norelro

# These goals install what they need, before anything is compiled.
GOAL  := $(firstword $(filter demo test asan faults check-deep \
           check-packages bench docs deb soak,$(MAKECMDGOALS)))
SETUP := $(if $(GOAL),deps)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all help deps demo test tests spec types docs check-layers lint asan \
        faults check-deep check-packages soak man bench install install-lua \
        uninstall dist deb clean FORCE

all: $(OUTPUTS) ## build everything (the default)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \t\2/p' Makefile | \
	  expand -t 22

# Files that change when what they hold does, so that nothing is kept from
# another compiler, other flags or another prefix.
REMEMBER = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@

$(OBJ)/flags: FORCE
	$(call REMEMBER,$(CC) $(COMPILE) $(JAIL_CC) $(JAIL_CFLAGS))

$(OBJ)/prefix: FORCE
	$(call REMEMBER,$(PREFIX))

$(OBJECTS) $(TEST_PROGRAMS) $(SUPPORT) $(FLOOR) \
$(FUZZERS): $(OBJ)/flags | $(SETUP)

$(OBJ)/jail/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,JAILCC)
	$(Q)$(JAIL_CC) $(JAIL_COMPILE) -MMD -MP -c -o $@ $<

$(OBJ)/src/core/%.o: src/core/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) -MMD -MP -c -o $@ $<

# Where the supervisor is when the kernel refuses to run it from memory.
$(OBJ)/src/binding/%.o: src/binding/%.c $(OBJ)/prefix
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) $(LUA_CFLAGS) \
	  -DNOE_JAIL_PATH='"$(PREFIX)/libexec/noether/jail"' -MMD -MP -c -o $@ $<

$(OBJ)/src/%.o: src/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) $(LUA_CFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/gen/%.o: $(OBJ)/gen/%.c
	$(call SAY,CC)
	$(Q)$(CC) $(COMPILE) -c -o $@ $<

-include $(OBJECTS:.o=.d) $(TEST_PROGRAMS:=.d)

$(JAIL): $(JAIL_OBJECTS)
	@mkdir -p $(@D)
	$(call SAY,JAILLD)
	$(Q)$(JAIL_CC) $(JAIL_CFLAGS) $(JAIL_LINK) -o $@ $(JAIL_OBJECTS)

$(OBJ)/gen/jail_image.c: $(JAIL) tools/embed.sh
	@mkdir -p $(@D)
	$(call SAY,EMBED)
	$(Q)tools/embed.sh bytes noe_jail_image $(JAIL) >$@

# What the doc comments say, for help() in the interpreter. The directories
# too: a file that is taken away changes only them.
$(REFERENCE): $(LUA_SOURCES) $(sort $(dir $(LUA_SOURCES))) $(DOCS_SOURCES) \
              README.md include/noether.h | $(SETUP)
	@mkdir -p $(@D)
	$(call SAY,DOCS)
	$(Q)$(HOST_LUA) tools/docs.lua reference >$@

# What compiles the modules inside, by the Lua that will run them.
$(CHUNK): tools/chunk.c | $(SETUP)
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) $(filter-out -fsanitize=%,-pie $(COMPILE) $(LINK)) \
	  $(LUA_CFLAGS) -o $@ $< $(LUA_ARCHIVE) -lm -ldl

# What comes from elsewhere may be installed only now.
$(OBJ)/gen/embedded.c: $(LUA_SOURCES) $(REFERENCE) $(wildcard $(LUA_EMBEDS)) \
                       $(CHUNK) tools/embed.sh | $(SETUP)
	@mkdir -p $(@D)
	$(call SAY,EMBED)
	$(Q)tools/embed.sh lua $(CHUNK) lua $(LUA_SOURCES) $(LUA_EMBEDS) \
	  -- $(OBJ)/gen/lua $(REFERENCE) >$@

$(PKG_CONFIG): noether.pc.in include/noether.h $(OBJ)/prefix
	@mkdir -p $(@D)
	$(call SAY,SED)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

$(APPARMOR): tools/apparmor.in $(OBJ)/prefix
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

$(CORE_MODULE): $(BINDING_OBJECTS) $(CORE_OBJECTS) tools/core.exports
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -shared $(LINK) -Wl,--version-script=tools/core.exports -o $@ \
	  $(BINDING_OBJECTS) $(CORE_OBJECTS) $(CRYPTO) $(SECCOMP)

# The whole of Lua, used here or not: C modules that are loaded may call it.
$(NOETHER_LUA): $(MAIN_OBJECTS) $(BINDING_OBJECTS) $(CORE_OBJECTS) \
                tools/noether-lua.exports
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -pie $(LINK) -Wl,--dynamic-list=tools/noether-lua.exports -o $@ \
	  $(MAIN_OBJECTS) $(BINDING_OBJECTS) $(CORE_OBJECTS) \
	  -Wl,--whole-archive $(LUA_ARCHIVE) -Wl,--no-whole-archive \
	  $(LUA_MODULES) $(CRYPTO) $(SECCOMP) $(EDIT) -lm -ldl

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
	$(Q)$(CC) -pie $(COMPILE) $(LINK) -MMD -MP -MF $@.d -o $@ $< \
	  $(STATIC_LIB) $(CRYPTO) $(SECCOMP)

$(BUILD)/spec/fuzz/%_fuzz: spec/fuzz/%_fuzz.c $(CORE_SOURCES) \
                           $(OBJ)/gen/jail_image.c
	@mkdir -p $(@D)
	$(call SAY,FUZZ)
	$(Q)clang -std=c11 -D_GNU_SOURCE -g -O1 $(INCLUDES) \
	  -fsanitize=fuzzer,address,undefined -Wl,--allow-multiple-definition \
	  -o $@ $< $(CORE_SOURCES) \
	  $(OBJ)/gen/jail_image.c $(CRYPTO) $(SECCOMP)

# What Lua alone cannot do, and the specs and the bench need.
$(SUPPORT) $(FLOOR): $(BUILD)/%.so: %.c
	@mkdir -p $(@D)
	$(call SAY,LD)
	$(Q)$(CC) -shared $(filter-out -fsanitize=%,$(COMPILE) $(LINK)) \
	  -fvisibility=default $(LUA_CFLAGS) -o $@ $<

# It defines the C library's calls, and is loaded into programs without Lua.
$(BUILD)/spec/faults/inject.so: private COMPILE += -U_FORTIFY_SOURCE -fno-builtin
$(BUILD)/spec/faults/inject.so: private LINK += -Wl,-z,lazy

deps: ## install what building and testing need (Debian; asks apt-get)
	@tools/deps.sh $(or $(GOAL),test)

demo: deps all ## install what is missing, build, run stages in three languages
	@$(NOETHER_LUA) examples/hello.lua

test: deps all check-layers tests ## install what is missing, build, test all
	@tools/test.sh $(BUILD)

tests: $(TEST_PROGRAMS) $(SUPPORT)

spec: $(NOETHER) $(SUPPORT) ## run the specs, or only FILE=spec/x_spec.lua
	@SPEC_SANITIZED=$(if $(SANITIZE),1) tools/spec.sh $(BUILD) $(FILE)

types: ## write types/noether.lua anew, from the sources' doc comments
	$(Q)$(HOST_LUA) tools/docs.lua types >types/noether.lua

docs: $(SETUP) ## write docs/api, HTML pages of the doc comments
	$(Q)tools/ldoc.sh $(HOST_LUA) docs/api

check-layers: $(NOETHER_LUA) ## refuse a dependency that points the wrong way
	@$(NOETHER_LUA) tools/check-layers.lua .

lint: ## check layout and style of C, Lua and shell
	@tools/deps.sh lint
	@tools/lint.sh

# The same Makefile with other settings: what follows is built twice.
WITH_ASAN := $(MAKE) --no-print-directory BUILD=$(BUILD)/asan \
             SANITIZE=address,undefined CFLAGS='-O1 -g'

asan: $(SETUP) ## the C tests and the specs under ASan and UBSan
	+@$(WITH_ASAN) all tests
	@SPEC_SANITIZED=1 tools/test.sh $(BUILD)/asan --once

check-deep: asan all tests faults check-packages $(FUZZERS) ## what takes long
	@tools/lint.sh deep
	@for name in $(notdir $(FUZZERS:_fuzz=)); do \
	  found=$(BUILD)/spec/fuzz/$$name.found; mkdir -p $$found; \
	  $(BUILD)/spec/fuzz/$${name}_fuzz -max_total_time=$(FUZZ_SECS) \
	    -verbosity=0 -artifact_prefix=$(BUILD)/ \
	    $$found spec/fuzz/corpus/$$name || exit 1; \
	done
	@SPEC_COLLECTOR=always tools/spec.sh $(BUILD)
	@tools/spec.sh $(BUILD) spec/browser/trace.lua
	@$(NOETHER_LUA) spec/soak.lua $(SOAK_RUNS)

faults: all tests ## break calls, allocations and hosts on purpose
	@tools/deps.sh faults
	@tools/faults.sh $(BUILD) long

soak: $(NOETHER_LUA) $(SUPPORT) ## SOAK_RUNS (100000) runs of every shape; nothing may be left
	@$(NOETHER_LUA) spec/soak.lua $(SOAK_RUNS)

bench: $(NOETHER_LUA) $(FLOOR) ## measure, and write build/bench.json
	@BENCH_BUILD=$(BUILD) $(NOETHER_LUA) bench/run.lua $(BUILD)/bench.json

man: $(NOETHER_LUA) ## write man/noether.1 anew, from what the command says
	@$(NOETHER_LUA) tools/man.lua >man/noether.1

# The Lua module alone: also what LuaRocks installs.
install-lua: $(CORE_MODULE)
	$(INSTALL) -d '$(DESTDIR)$(LUA_LIBDIR)/noether'
	$(INSTALL) -m 755 $(CORE_MODULE) '$(DESTDIR)$(LUA_LIBDIR)/noether'
	@for file in $(LUA_SOURCES:lua/%=%); do \
	  $(INSTALL) -D -m 644 lua/$$file '$(DESTDIR)$(LUA_DIR)'/$$file || exit 1; \
	done

install: all install-lua ## install under DESTDIR and PREFIX (/usr/local)
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
	$(INSTALL) -m 755 $(SHARED_LIB).$(VERSION) '$(DESTDIR)$(PREFIX)/lib'
	ln -sf libnoether.so.$(VERSION) '$(DESTDIR)$(PREFIX)/lib/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(PREFIX)/lib/libnoether.so'

uninstall: ## remove what install put there
	rm -rf '$(DESTDIR)$(LUA_DIR)/noether' '$(DESTDIR)$(LUA_LIBDIR)/noether' \
	  '$(DESTDIR)$(PREFIX)/libexec/noether' \
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
	@tools/dist.sh $(VERSION) $(BUILD)/noether-$(VERSION).tar.gz

# A build of its own: the prefix is written into programs.
WITH_DEB := $(MAKE) --no-print-directory BUILD=$(BUILD)/deb PREFIX=/usr \
            CFLAGS='-O2 -g -ffile-prefix-map=$(CURDIR)=.'

deb: $(SETUP) ## make a Debian package: build/noether_VERSION_ARCH.deb
	+@$(WITH_DEB) all
	@rm -rf $(BUILD)/deb/root
	+@$(WITH_DEB) install DESTDIR=$(abspath $(BUILD)/deb/root) \
	  LUA_DIR=/usr/share/lua/5.4 LUA_LIBDIR=/usr/lib/lua/5.4 >/dev/null
	@tools/deb.sh $(VERSION) $(BUILD)/deb/root $(BUILD)

check-packages: deb ## try the Debian package and the rockspec (as root)
	@cp $(BUILD)/noether_$(VERSION)_*.deb $(BUILD)/deb/first.deb
	+@$(MAKE) --no-print-directory deb >/dev/null
	@cmp $(BUILD)/deb/first.deb $(BUILD)/noether_$(VERSION)_*.deb
	@tools/check-deb.sh $(BUILD)/deb/first.deb $(BUILD)/deb/check
	@tools/check-rock.sh $(BUILD)/rock

clean: ## remove what was built
	rm -rf $(BUILD)
