/* An SMTP server that takes every mail and keeps none, quick enough that the client is what is measured.
 *
 *     sink PORT [DELAY_US [LOG]]     (PORT 0: any; it is told on the first line of stdout; loopback only)
 *
 * DELAY_US: how long after a command arrived its answer leaves, as on a line whose round trip takes that long.
 * LOG: a line for each mail that was accepted, its recipient and the bytes of its content, written before the answer.
 * On SIGTERM it prints `mails bytes cpu_us` and ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 4096, ANSWERS = 64, LINE = 1100, READ = 1 << 19 };

struct answer { long due; const char *words; };
struct connection {
    int open, in_content, leaving, line_length, matched;
    long content;                       /* bytes of the mail that is arriving */
    char line[LINE], recipient[LINE];
    struct answer waiting[ANSWERS];     /* a ring: answers that have not left yet */
    int first, count;
};

static struct connection connections[CONNECTIONS];
static char heard[READ];
static long delay, mails, bytes;
static int highest;
static FILE *log_file;
static volatile sig_atomic_t stopping;

static void stop(int signal_number) { (void)signal_number; stopping = 1; }

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void say(struct connection *c, const char *words, long at) {
    if (c->count == ANSWERS) { c->leaving = 1; return; }
    c->waiting[(c->first + c->count++) % ANSWERS] = (struct answer){at + delay, words};
}

static void close_it(int fd) { close(fd); connections[fd].open = 0; }

/* Let the answers leave whose time has come; returns when the next one is due, or -1. */
static long let_leave(int fd, long at) {
    struct connection *c = &connections[fd];
    char out[ANSWERS * 80];
    size_t length = 0;
    while (c->count && c->waiting[c->first].due <= at) {
        const char *words = c->waiting[c->first].words;
        size_t size = strlen(words);
        memcpy(out + length, words, size);
        length += size;
        c->first = (c->first + 1) % ANSWERS;
        c->count--;
    }
    if (length && write(fd, out, length) < 0) { close_it(fd); return -1; }
    if (c->leaving && !c->count) { close_it(fd); return -1; }
    return c->count ? c->waiting[c->first].due : -1;
}

static void command(struct connection *c, long at) {
    const char *line = c->line;
    if (!strncasecmp(line, "DATA", 4)) {
        say(c, "354 go on\r\n", at);
        c->in_content = 1; c->content = 0; c->matched = 2; /* as after a line break: a lone dot may come at once */
    } else if (!strncasecmp(line, "EHLO", 4)) {
        say(c, "250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n", at);
    } else if (!strncasecmp(line, "QUIT", 4)) {
        say(c, "221 2.0.0 bye\r\n", at);
        c->leaving = 1;
    } else {
        if (!strncasecmp(line, "RCPT", 4)) {
            const char *opened = strchr(line, '<'), *closed = opened ? strchr(opened, '>') : NULL;
            if (closed) { memcpy(c->recipient, opened + 1, closed - opened - 1); c->recipient[closed - opened - 1] = 0; }
        }
        say(c, "250 2.1.0 ok\r\n", at);
    }
}

static void accepted(struct connection *c, long at) {
    c->in_content = 0; c->line_length = 0;
    mails++; bytes += c->content;
    if (log_file) { fprintf(log_file, "%s %ld\n", c->recipient, c->content); fflush(log_file); }
    say(c, "250 2.0.0 Ok: queued as 4Bz9xK1234\r\n", at);
}

/* The bytes of content up to the end of CR LF . CR LF, which may come in pieces; returns where commands begin again, or NULL. */
static char *content(struct connection *c, char *from, char *end, long at) {
    static const char mark[] = "\r\n.\r\n";
    for (char *p = from; p < end;) {
        if (!c->matched) {                          /* memmem is what makes 400 KB cheap */
            char *found = memmem(p, end - p, mark, 5);
            if (found) { c->content += found + 5 - from; accepted(c, at); return found + 5; }
            int tail = end - p < 4 ? end - p : 4;   /* what the mark may have begun with at the end of what was read */
            for (int size = tail; size; size--)
                if (!memcmp(end - size, mark, size)) { c->matched = size; break; }
            c->content += end - from;
            return NULL;
        }
        if (*p == mark[c->matched]) {
            p++;
            if (++c->matched == 5) { c->content += p - from; c->matched = 0; accepted(c, at); return p; }
        } else c->matched = *p == '\r' ? (p++, 1) : 0;
    }
    c->content += end - from;
    return NULL;
}

static void listen_to(int fd, long at) {
    struct connection *c = &connections[fd];
    ssize_t size = read(fd, heard, sizeof heard);
    if (size <= 0) { close_it(fd); return; }
    for (char *p = heard, *end = heard + size; p && p < end;) {
        if (c->in_content) { p = content(c, p, end, at); continue; }
        char *line_end = memchr(p, '\n', end - p), *next = line_end ? line_end + 1 : end;
        if (c->line_length + (next - p) < LINE) { memcpy(c->line + c->line_length, p, next - p); c->line_length += next - p; }
        p = next;
        if (line_end) { c->line[c->line_length] = 0; command(c, at); c->line_length = 0; }
    }
}

static void welcome(int listener, int poll) {
    int fd = accept(listener, NULL, NULL), yes = 1;
    if (fd < 0) return;
    if (fd >= CONNECTIONS) { close(fd); return; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    memset(&connections[fd], 0, sizeof connections[fd]);
    connections[fd].open = 1;
    if (fd > highest) highest = fd;
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    say(&connections[fd], "220 sink\r\n", now());
}

int main(int count, char **arguments) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1, poll = epoll_create1(0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(arguments[1]) : 0),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    struct epoll_event events[64];
    delay = count > 2 ? atol(arguments[2]) : 0;
    if (count > 3 && !(log_file = fopen(arguments[3], "a"))) { perror("log"); return 1; }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, size) || listen(listener, 512)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&here, &size);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    while (!stopping) {
        long at = now(), next = -1;
        for (int fd = 0; fd <= highest; fd++)
            if (connections[fd].open) {
                long due = let_leave(fd, at);
                if (due >= 0 && (next < 0 || due < next)) next = due;
            }
        long wait = next < 0 ? -1 : next > at ? next - at : 0;
        struct timespec patience = {wait / 1000000, wait % 1000000 * 1000};
        int ready = epoll_pwait2(poll, events, 64, wait < 0 ? NULL : &patience, NULL);
        for (int i = 0; i < ready; i++)
            events[i].data.fd == listener ? welcome(listener, poll) : listen_to(events[i].data.fd, now());
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%ld %ld %ld\n", mails, bytes,
           (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L + used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    return 0;
}
