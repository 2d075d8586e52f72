/* SPDX-License-Identifier: MIT */
/*
 * The line editor of a terminal: libedit, with signals, completion and pasting
 * as the prompt needs them.
 *
 * While a line is read, signals are blocked but where input is waited for, so
 * that none is missed between a look at what came and the wait. Their handler
 * only notes them; what they ask for is done from next_char(), with the
 * terminal as it is to be left. libedit's own handlers would send each signal
 * to the whole process group.
 *
 * libedit works with wide characters of the thread's locale. That is UTF-8
 * here, whatever the process has, and only while a line is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termcap.h>
#include <unistd.h>
#include <wchar.h>

#include <lauxlib.h>
#include <lua.h>

#include "front.h"

#define TYPE "noether.editor"

/* What a terminal sends around pasted text, once it was asked to. */
#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"
#define PASTE_END L"\033[201~"

#define CURSOR_UP "\033[A"
#define CLEAR_BELOW "\r\033[J"

enum { HISTORY_SIZE = 10000, COLUMNS = 80 };

struct editor {
    EditLine *el;
    int input; /* the terminal, not blocking; -1 where standard input serves */
    History *history;
    FILE *nowhere;
    locale_t locale;
    /* While a line is read: */
    lua_State *L;
    const char *prompt;
    sigset_t mask; /* what was blocked before */
    bool interrupted;
};

static const int watched[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                              SIGTSTP, SIGCONT, SIGWINCH};

enum { WATCHED = sizeof(watched) / sizeof(watched[0]) };

static volatile sig_atomic_t came[WATCHED];

static void note_signal(int number)
{
    for (int i = 0; i < WATCHED; i++) {
        if (watched[i] == number)
            came[i] = 1;
    }
}

static void watch_signals(struct editor *editor, struct sigaction *before)
{
    struct sigaction action = {.sa_handler = note_signal};
    sigset_t set;

    sigemptyset(&set);
    for (int i = 0; i < WATCHED; i++)
        sigaddset(&set, watched[i]);
    sigprocmask(SIG_BLOCK, &set, &editor->mask);
    for (int i = 0; i < WATCHED; i++) {
        came[i] = 0;
        sigaction(watched[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(watched[i], &action, NULL);
    }
}

static void unwatch_signals(struct editor *editor,
                            const struct sigaction *before)
{
    for (int i = 0; i < WATCHED; i++)
        sigaction(watched[i], &before[i], NULL);
    sigprocmask(SIG_SETMASK, &editor->mask, NULL);
}

static void write_now(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

/* First of all the terminal stops to edit lines itself: whoever sees what is
 * written next may type any key. */
static void take_terminal(struct editor *editor)
{
    el_set(editor->el, EL_PREP_TERM, 1);
    write_now(PASTE_ON);
}

static void leave_terminal(struct editor *editor)
{
    write_now(PASTE_OFF);
    el_set(editor->el, EL_PREP_TERM, 0);
}

static void do_interrupt(struct editor *editor, int number)
{
    (void)number;
    editor->interrupted = true;
}

static void do_end(struct editor *editor, int number)
{
    leave_terminal(editor);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_SETMASK, &editor->mask, NULL);
}

/* SIGCONT will tell when it is over. */
static void do_stop(struct editor *editor, int number)
{
    (void)number;
    leave_terminal(editor);
    raise(SIGSTOP);
}

/* How many rows of the screen are above the cursor's that belong to the line,
 * as a terminal of the new width has wrapped them. */
static int rows_above(struct editor *editor, int columns)
{
    const LineInfoW *line = el_wline(editor->el);
    int rows = 0, column = (int)strlen(editor->prompt);

    for (const wchar_t *at = line->buffer; at < line->cursor; at++) {
        int width = wcwidth(*at);
        column += width > 0 ? width : 0;
        if (*at == L'\n' || column >= columns) {
            rows++;
            column = 0;
        }
    }
    return rows;
}

static void do_resize(struct editor *editor, int number)
{
    int columns = COLUMNS;

    (void)number;
    el_resize(editor->el);
    el_get(editor->el, EL_GETTC, "co", &columns);
    for (int rows = rows_above(editor, columns); rows > 0; rows--)
        write_now(CURSOR_UP);
    write_now(CLEAR_BELOW);
    el_set(editor->el, EL_REFRESH);
}

/* Whoever had the terminal meanwhile may have set it in another way. */
static void do_continue(struct editor *editor, int number)
{
    (void)number;
    el_set(editor->el, EL_PREP_TERM, 0);
    write_now(CLEAR_BELOW);
    take_terminal(editor);
    el_set(editor->el, EL_REFRESH);
}

/* As in `watched`. */
static void (*const answers[])(struct editor *, int) = {
    do_interrupt, do_end, do_end, do_end, do_stop, do_continue, do_resize,
};

static void answer_signals(struct editor *editor)
{
    for (int i = 0; i < WATCHED; i++) {
        if (came[i]) {
            came[i] = 0;
            answers[i](editor, watched[i]);
        }
    }
}

static struct editor *editor_of(EditLine *el)
{
    void *editor = NULL;

    el_get(el, EL_CLIENTDATA, &editor);
    return editor;
}

/* For libedit: 1 and a character, 0 at the end, -1 if there is none to come. */
static int next_char(EditLine *el, wchar_t *out)
{
    struct editor *editor = editor_of(el);
    mbstate_t state = {0};

    for (;;) {
        int fd = editor->input >= 0 ? editor->input : STDIN_FILENO;
        struct pollfd input = {fd, POLLIN, 0};
        char byte;

        answer_signals(editor);
        if (editor->interrupted)
            return -1;
        if (ppoll(&input, 1, NULL, &editor->mask) < 0)
            continue;
        ssize_t len = read(fd, &byte, 1);
        if (len < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (len <= 0)
            return (int)len;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-2)
            continue;
        if (used == (size_t)-1)
            *out = 0xFFFD; /* no character begins so */
        return 1;
    }
}

static char *show_prompt(EditLine *el)
{
    return (char *)editor_of(el)->prompt;
}

/* Lua function: asks the completion function, which is under the arguments.
 * complete(text before the cursor, width of the terminal) -> text to insert or
 * nil, text to show or nil */
static int ask_completion(lua_State *L)
{
    struct editor *editor = lua_touserdata(L, 1);
    const LineInfo *line = el_line(editor->el);
    int columns = COLUMNS;

    el_get(editor->el, EL_GETTC, "co", &columns);
    lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
    lua_pushinteger(L, columns);
    lua_call(L, 2, 2);
    return 2;
}

/* Shows `text` below the line, which is then drawn again. */
static void show_below(const char *text)
{
    putchar('\n');
    write_now(text);
    putchar('\n');
    fflush(stdout);
}

static unsigned char complete(EditLine *el, wint_t key)
{
    struct editor *editor = editor_of(el);
    lua_State *L = editor->L;
    unsigned char answer = CC_ERROR;

    (void)key;
    lua_pushcfunction(L, ask_completion);
    lua_pushlightuserdata(L, editor);
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 2, 2, 0) != LUA_OK) {
        lua_pop(L, 1);
        return CC_ERROR;
    }
    const char *insert = lua_tostring(L, -2), *show = lua_tostring(L, -1);
    if (show != NULL) {
        show_below(show);
        answer = CC_REDISPLAY;
    }
    if (insert != NULL && el_insertstr(el, insert) == 0 && show == NULL)
        answer = CC_REFRESH;
    lua_pop(L, 2);
    return answer;
}

/* Characters of a paste, until what ends it. */
struct pasted {
    wchar_t *text;
    size_t len, room;
};

static bool append(struct pasted *pasted, wchar_t character)
{
    if (pasted->len + 1 >= pasted->room) {
        size_t room = pasted->room * 2 + 256;
        wchar_t *text = realloc(pasted->text, room * sizeof(*text));
        if (text == NULL)
            return false;
        pasted->text = text;
        pasted->room = room;
    }
    pasted->text[pasted->len++] = character == L'\r' ? L'\n' : character;
    pasted->text[pasted->len] = L'\0';
    return true;
}

static bool cut_end(struct pasted *pasted)
{
    static const wchar_t end[] = PASTE_END;
    size_t len = sizeof(end) / sizeof(end[0]) - 1;

    if (pasted->len < len ||
        wmemcmp(pasted->text + pasted->len - len, end, len) != 0)
        return false;
    pasted->len -= len;
    while (pasted->len > 0 && pasted->text[pasted->len - 1] == L'\n')
        pasted->len--;
    pasted->text[pasted->len] = L'\0';
    return true;
}

/* Pasted text is taken as it is, tabs and line ends too, and runs only when
 * the user says so. */
static unsigned char paste(EditLine *el, wint_t key)
{
    struct pasted pasted = {0};
    wchar_t character;
    bool whole = false;

    (void)key;
    while (!whole && el_wgetc(el, &character) == 1 &&
           append(&pasted, character))
        whole = cut_end(&pasted);
    if (whole && pasted.len > 0)
        el_winsertstr(el, pasted.text);
    free(pasted.text);
    return CC_REFRESH;
}

static void bind_keys(EditLine *el)
{
    static const char *const keys[][2] = {
        {"^I", "noether-complete"},
        {"\\e[200~", "noether-paste"},
        {"^R", "em-inc-search-prev"},
        {"^W", "ed-delete-prev-word"},
        {"^U", "vi-kill-line-prev"},
        {"\\e[A", "ed-search-prev-history"},
        {"\\eOA", "ed-search-prev-history"},
        {"\\e[B", "ed-search-next-history"},
        {"\\eOB", "ed-search-next-history"},
        {"\\e[3~", "ed-delete-next-char"},
        {"\\e[1~", "ed-move-to-beg"},
        {"\\e[4~", "ed-move-to-end"},
        {"\\e[H", "ed-move-to-beg"},
        {"\\e[F", "ed-move-to-end"},
        {"\\eOH", "ed-move-to-beg"},
        {"\\eOF", "ed-move-to-end"},
        {"\\e[1;5D", "ed-prev-word"},
        {"\\e[1;5C", "em-next-word"},
    };

    /* Of names that are not wide libedit makes copies that it never frees. */
    el_wset(el, EL_ADDFN, L"noether-complete", L"complete a name", complete);
    el_wset(el, EL_ADDFN, L"noether-paste", L"insert pasted text", paste);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        el_set(el, EL_BIND, keys[i][0], keys[i][1], NULL);
}

/* What libedit knows of the terminal comes from the system's descriptions;
 * NULL where it has none that would do. */
static const char *terminal_name(void)
{
    const char *name = getenv("TERM");

    if (name == NULL || name[0] == '\0' || strcmp(name, "dumb") == 0)
        return NULL;
    if (tgetent(NULL, name) > 0)
        return name;
    return tgetent(NULL, "vt100") > 0 ? "vt100" : NULL;
}

static int editor_close(lua_State *L)
{
    struct editor *editor = luaL_checkudata(L, 1, TYPE);

    if (editor->el != NULL)
        el_end(editor->el);
    if (editor->history != NULL)
        history_end(editor->history);
    if (editor->nowhere != NULL)
        fclose(editor->nowhere);
    if (editor->input >= 0)
        close(editor->input);
    if (editor->locale != (locale_t)0)
        freelocale(editor->locale);
    *editor = (struct editor){.input = -1};
    return 0;
}

static struct editor *check_open(lua_State *L)
{
    struct editor *editor = luaL_checkudata(L, 1, TYPE);

    luaL_argcheck(L, editor->el != NULL, 1, "closed");
    return editor;
}

/* Reads a line; NULL at the end or when interrupted. */
static const char *read_line(struct editor *editor, int *len)
{
    struct sigaction before[WATCHED];

    editor->interrupted = false;
    watch_signals(editor, before);
    locale_t locale = uselocale(editor->locale);
    take_terminal(editor);
    const char *line = el_gets(editor->el, len);
    leave_terminal(editor);
    if (editor->interrupted)
        write_now("^C");
    if (line == NULL)
        write_now("\n");
    uselocale(locale);
    unwatch_signals(editor, before);
    return editor->interrupted ? NULL : line;
}

/* editor:read(prompt, complete) -> line; nil, "interrupted"; or nil */
static int editor_read(lua_State *L)
{
    struct editor *editor = check_open(L);
    int len = 0;

    editor->prompt = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    lua_settop(L, 3);
    editor->L = L;
    const char *line = read_line(editor, &len);
    editor->L = NULL;
    editor->prompt = "";
    if (line != NULL && len > 0) {
        len -= line[len - 1] == '\n';
        lua_pushlstring(L, line, (size_t)len);
        return 1;
    }
    lua_pushnil(L);
    if (!editor->interrupted)
        return 1;
    lua_pushliteral(L, "interrupted");
    return 2;
}

/* editor:remember(text): for the keys that go back. */
static int editor_remember(lua_State *L)
{
    struct editor *editor = check_open(L);
    HistEvent event;

    history(editor->history, &event, H_ENTER, luaL_checkstring(L, 2));
    return 0;
}

static const luaL_Reg methods[] = {
    {"close", editor_close},
    {"read", editor_read},
    {"remember", editor_remember},
    {NULL, NULL},
};

static void push_new(lua_State *L)
{
    struct editor *editor = lua_newuserdatauv(L, sizeof(*editor), 0);

    *editor = (struct editor){.prompt = "", .input = -1};
    if (luaL_newmetatable(L, TYPE)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, editor_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
}

/* Ctrl-C throws away what was typed, also between poll and read: a read that
 * blocked would wait there, deaf to signals. The terminal is opened anew for
 * that, as others read from standard input, too. */
static int open_terminal(void)
{
    char name[128];

    if (ttyname_r(STDIN_FILENO, name, sizeof(name)) != 0)
        return -1;
    return open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool open_editor(struct editor *editor, const char *terminal)
{
    HistEvent event;

    editor->input = open_terminal();
    editor->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (editor->locale == (locale_t)0) /* an old libc's: the user's own */
        editor->locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    editor->nowhere = fopen("/dev/null", "we");
    editor->history = history_init();
    if (editor->locale == (locale_t)0 || editor->nowhere == NULL ||
        editor->history == NULL)
        return false;
    locale_t locale = uselocale(editor->locale);
    editor->el = el_init("noether-lua", stdin, stdout, editor->nowhere);
    if (editor->el != NULL) {
        el_set(editor->el, EL_CLIENTDATA, editor);
        el_set(editor->el, EL_TERMINAL, terminal);
        el_set(editor->el, EL_EDITOR, "emacs");
        el_set(editor->el, EL_PROMPT_ESC, show_prompt, '\1');
        el_set(editor->el, EL_GETCFN, next_char);
        history(editor->history, &event, H_SETSIZE, HISTORY_SIZE);
        history(editor->history, &event, H_SETUNIQUE, 1);
        el_set(editor->el, EL_HIST, history, editor->history);
        bind_keys(editor->el);
        el_source(editor->el, NULL); /* the user's own keys: ~/.editrc */
    }
    uselocale(locale);
    return editor->el != NULL;
}

void noeL_pusheditor(lua_State *L)
{
    const char *terminal = terminal_name();

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || terminal == NULL) {
        lua_pushnil(L);
        return;
    }
    push_new(L);
    if (!open_editor(lua_touserdata(L, -1), terminal)) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}
