/* A zero-latency OpenAI server for benchmarks: one thread, epoll, every answer built beforehand.
 *
 *   upstream PORT
 *
 * POST /v1/chat/completions   a completion of about 700 bytes, or, when the body says
 *                             "stream": true, 200 server-sent events of about 200 bytes and [DONE],
 *                             written in one go, each event in its own HTTP chunk
 *                             Of those for the model "flaky", every 50th is answered by 500
 * GET  /...                   the list of models
 *
 * Keep-alive and pipelining; bodies with Content-Length or chunked. It measures gateways, so it
 * checks nothing: a request that is too long or that it cannot frame closes the connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { INBOX = 1 << 16, EVENTS = 256, MAX_FD = 8192, STREAM_EVENTS = 200 };

struct answer { char *bytes; size_t length; };

struct connection {
    char inbox[INBOX];       /* bytes received and not yet answered */
    size_t filled;
    struct answer pending;   /* what the socket did not take yet */
};

static struct answer completion, stream, models, failure;
static unsigned flaky_asked;
static struct connection *connections[MAX_FD];

static struct answer with_head(const char *type, const char *body, size_t length) {
    struct answer made;
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %zu\r\n\r\n",
                     type, length);
    made.length = (size_t)n + length;
    made.bytes = malloc(made.length);
    memcpy(made.bytes, head, (size_t)n);
    memcpy(made.bytes + n, body, length);
    return made;
}

static void append_event(struct answer *to, const char *delta, const char *finish) {
    char event[512];
    int n = snprintf(event, sizeof event,
        "data: {\"id\":\"chatcmpl-b0123456789abcdef01234567\",\"object\":\"chat.completion.chunk\","
        "\"created\":1760000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":%s,"
        "\"logprobs\":null,\"finish_reason\":%s}]}\n\n", delta, finish);
    to->length += (size_t)sprintf(to->bytes + to->length, "%x\r\n%s\r\n", (unsigned)n, event);
}

static void build_answers(void) {
    char text[512] = "", body[1024], delta[64];
    for (int word = 0; word < 40; word++)
        sprintf(text + strlen(text), "word%03d ", word);
    int n = snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-b0123456789abcdef01234567\",\"object\":\"chat.completion\","
        "\"created\":1760000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":"
        "{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":80,"
        "\"total_tokens\":180},\"system_fingerprint\":\"fp_bench\"}", text);
    completion = with_head("application/json", body, (size_t)n);
    n = snprintf(body, sizeof body, "{\"object\":\"list\",\"data\":[{\"id\":\"bench\","
                 "\"object\":\"model\",\"created\":1760000000,\"owned_by\":\"bench\"}]}");
    models = with_head("application/json", body, (size_t)n);

    n = snprintf(body, sizeof body, "{\"error\":{\"message\":\"out of memory\",\"type\":"
                 "\"server_error\",\"param\":null,\"code\":null}}");
    failure = with_head("application/json", body, (size_t)n);
    memcpy(failure.bytes + 9, "500", 3);

    stream.bytes = malloc(STREAM_EVENTS * 600);
    stream.length = (size_t)sprintf(stream.bytes,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        "transfer-encoding: chunked\r\n\r\n");
    append_event(&stream, "{\"role\":\"assistant\",\"content\":\"\"}", "null");
    for (int word = 0; word < STREAM_EVENTS - 2; word++) {
        snprintf(delta, sizeof delta, "{\"content\":\"word%03d \"}", word);
        append_event(&stream, delta, "null");
    }
    append_event(&stream, "{}", "\"stop\"");
    stream.length += (size_t)sprintf(stream.bytes + stream.length,
                                     "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
}

/* The length of the first whole request in the inbox, 0 when it is not whole; sets *body. */
static size_t request_length(struct connection *c, char **body) {
    c->inbox[c->filled] = 0;
    char *end = strstr(c->inbox, "\r\n\r\n");
    if (!end) return 0;
    *body = end + 4;
    *end = 0; /* so that the header look-ups stop at the end of this head */
    char *length = strcasestr(c->inbox, "\r\ncontent-length:");
    char *chunked = length ? NULL : strcasestr(c->inbox, "\r\ntransfer-encoding: chunked");
    size_t total = (size_t)(*body - c->inbox);
    if (length) total += strtoul(length + 17, NULL, 10);
    *end = '\r';
    if (chunked) {
        char *last = strstr(end + 2, "\r\n0\r\n\r\n");
        return last ? (size_t)(last + 7 - c->inbox) : 0;
    }
    return total <= c->filled ? total : 0;
}

static int wants_stream(const char *body, size_t length) {
    const char *at = memmem(body, length, "\"stream\"", 8), *end = body + length;
    if (!at) return 0;
    for (at += 8; at < end && (*at == ' ' || *at == ':'); at++) continue;
    return end - at >= 4 && memcmp(at, "true", 4) == 0;
}

static int is_failing(const char *body, size_t length) {
    return memmem(body, length, "\"flaky\"", 7) && ++flaky_asked % 50 == 0;
}

static void drop(int fd) {
    close(fd);
    free(connections[fd]);
    connections[fd] = NULL;
}

/* Writes what is pending; 1 when all of it went, 0 when the socket is full, -1 when it is gone. */
static int flush_pending(int fd, struct connection *c) {
    while (c->pending.length) {
        ssize_t sent = send(fd, c->pending.bytes, c->pending.length, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        c->pending.bytes += sent;
        c->pending.length -= (size_t)sent;
    }
    return 1;
}

static int answer_requests(int fd, struct connection *c) {
    size_t taken;
    char *body;
    while (!c->pending.length && (taken = request_length(c, &body))) {
        if (memcmp(c->inbox, "POST", 4) != 0) c->pending = models;
        else if (is_failing(body, (size_t)(c->inbox + taken - body))) c->pending = failure;
        else if (wants_stream(body, (size_t)(c->inbox + taken - body))) c->pending = stream;
        else c->pending = completion;
        memmove(c->inbox, c->inbox + taken, c->filled - taken);
        c->filled -= taken;
        if (flush_pending(fd, c) < 0) return -1;
    }
    return 0;
}

static void serve(int fd) {
    struct connection *c = connections[fd];
    if (flush_pending(fd, c) < 0) { drop(fd); return; }
    for (;;) {
        size_t room = INBOX - 1 - c->filled;
        ssize_t got = recv(fd, c->inbox + c->filled, room, 0);
        if (got > 0) c->filled += (size_t)got;
        int gone = got == 0 || (got < 0 && errno != EAGAIN);
        if (gone || answer_requests(fd, c) < 0 || c->filled == INBOX - 1) { drop(fd); return; }
        if (got < (ssize_t)room) return; /* drained: the next bytes raise a new edge */
    }
}

static void accept_all(int listener, int poll) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd] = calloc(1, sizeof(struct connection));
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    if (argc != 2) { fprintf(stderr, "usage: upstream PORT\n"); return 2; }
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("upstream");
        return 1;
    }
    build_answers();
    int poll = epoll_create1(0);
    struct epoll_event ready[EVENTS], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(poll, ready, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == listener) accept_all(listener, poll);
            else serve(ready[i].data.fd);
        }
    }
}
