/* load: a small load generator for TaskQueueX and for the programs it is measured beside.
 *
 * Why our own: the generator must cost far less than the servers it drives, speak HTTP, RESP and the
 * beanstalkd protocol in the same way, follow a reply into the next request (a lease into its ack), and
 * offer an open-loop rate, where the latency counts from the moment a request was due and not from the
 * moment the generator got round to it ("coordinated omission").
 *
 * It is one file of over 600 lines so that a bare `cc load.c` builds it anywhere: options, histogram, the
 * three protocols, the loop, in this order.
 *
 * One thread, one epoll, N keep-alive connections, one request outstanding on each: never pipelined.
 * Usage: see usage() below. Prints one JSON line. Exit code: 0 when it ran, 1 on a usage or socket error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* ---- options ------------------------------------------------------------------------------------- */

static const char *host = "127.0.0.1", *queue = "bench", *path = "/";
static int port = 7470, connections = 64, batch = 1000, payload_bytes = 100;
static double seconds = 5, rate = 0; /* rate 0: as fast as the replies come */
static long long count = 0;          /* operations after which to stop; 0: by time alone */

static void usage(void) {
    fputs("usage: load [options] MODE [ARGUMENT]\n"
          "  -h HOST  -p PORT  -c CONNECTIONS(64)  -s SECONDS(5)  -n OPERATIONS  -r OPERATIONS_PER_SECOND\n"
          "  -q QUEUE(bench)  -b BATCH(1000)  -l PAYLOAD_BYTES(100)\n"
          "modes: get PATH | connect PATH | enqueue | dequeue | pair | mixed | batch-enqueue | batch-consume\n"
          "       redis-lpush | redis-xadd | redis-stream | beanstalk-put | beanstalk-pair\n", stderr);
    exit(1);
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* ---- latency histogram: 32 sub-buckets per power of two of nanoseconds, as in HdrHistogram --------- */

#define BUCKETS 2048
struct histogram {
    uint64_t bucket[BUCKETS], total;
    int64_t max;
};

static void record(struct histogram *histogram, int64_t ns) {
    if (ns < 0) ns = 0;
    int shift = 63 - __builtin_clzll((uint64_t)ns | 1) - 5;
    int index = shift <= 0 ? (int)ns : (shift << 5) + (int)(ns >> shift);
    histogram->bucket[index < BUCKETS ? index : BUCKETS - 1]++;
    histogram->total++;
    if (ns > histogram->max) histogram->max = ns;
}

static double percentile_us(const struct histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * histogram->total), seen = 0;
    for (int index = 0; index < BUCKETS; index++) {
        seen += histogram->bucket[index];
        if (histogram->bucket[index] && seen >= wanted) {
            int shift = index < 64 ? 0 : (index >> 5) - 1;
            double low = index < 64 ? index : (double)((uint64_t)(index - (shift << 5)) << shift);
            double middle = low + (double)(1ULL << shift) / 2; /* of the bucket; never beyond the largest seen */
            return (middle < (double)histogram->max ? middle : (double)histogram->max) / 1000;
        }
    }
    return 0;
}

/* ---- buffers --------------------------------------------------------------------------------------- */

struct buffer {
    char *data;
    size_t length, capacity;
};

static void reserve(struct buffer *buffer, size_t more) {
    if (buffer->length + more <= buffer->capacity) return;
    while (buffer->length + more > buffer->capacity) buffer->capacity = buffer->capacity ? buffer->capacity * 2 : 4096;
    buffer->data = realloc(buffer->data, buffer->capacity);
    if (!buffer->data) die("memory");
}

static void append(struct buffer *buffer, const char *data, size_t length) {
    reserve(buffer, length);
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

#define append_text(buffer, text) append(buffer, text, strlen(text))

/* ---- connections ------------------------------------------------------------------------------------ */

struct connection {
    int fd, number, step; /* step: the position within an operation of several requests */
    bool busy, stopped, waits_to_write;
    struct buffer in, out, scratch;
    size_t sent;
    int64_t due_ns, sent_ns; /* when the operation was due; when its first request was written */
    char id[64], lease[256];
};

/* A reply, complete in the connection's input buffer. */
struct reply {
    const char *body;
    size_t length;
    bool ok;
};

struct mode {
    const char *name;
    size_t (*parse)(const char *data, size_t length, struct reply *reply); /* bytes used; 0: incomplete */
    void (*build)(struct connection *connection);
    int (*on_reply)(struct connection *connection, const struct reply *reply); /* operations completed */
};

static struct histogram latency, service, acks; /* since due; since sent; of acks alone, since sent */
static struct connection *all;
static const struct mode *mode;
static struct sockaddr_in address;
static int poller, timer;
static long long operations, errors, empties, issued, ack_errors;
static int64_t started_ns, deadline_ns, finished_ns;
static int busy_connections;
static bool one_shot; /* a new connection for every request */
static char *payload, *task_body, *batch_body;

/* ---- HTTP -------------------------------------------------------------------------------------------- */

static size_t parse_http(const char *data, size_t length, struct reply *reply) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end || length < 13) return 0;
    size_t head = (size_t)(end - data) + 4, body = 0;
    for (const char *line = data; line && line < end;) {
        line = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!line) break;
        line += 2;
        if (strncasecmp(line, "content-length:", 15) == 0) body = strtoul(line + 15, NULL, 10);
    }
    if (length < head + body) return 0;
    *reply = (struct reply){data + head, body, data[9] == '2'};
    return head + body;
}

static void post(struct connection *connection, const char *target, const char *body, size_t length) {
    reserve(&connection->out, 512 + strlen(target));
    connection->out.length += (size_t)sprintf(connection->out.data + connection->out.length,
        "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        target, host, port, length);
    append(&connection->out, body, length);
}

static void post_queue(struct connection *connection, const char *verb, const char *body) {
    char target[256];
    snprintf(target, sizeof target, "/v1/queues/%s/%s", queue, verb);
    post(connection, target, body, strlen(body));
}

static void build_get(struct connection *connection) {
    char request[1024];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", path, host, port,
                          one_shot ? "Connection: close\r\n" : "");
    append(&connection->out, request, (size_t)length);
}

/* Copy the JSON string that follows `"key":"` at or after `from`; return the position after it, or NULL. */
static const char *find_string(const char *from, const char *end, const char *key, char *to, size_t room) {
    char pattern[32];
    int size = snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    const char *start = memmem(from, (size_t)(end - from), pattern, (size_t)size);
    if (!start) return NULL;
    start += size;
    const char *stop = memchr(start, '"', (size_t)(end - start));
    if (!stop || (size_t)(stop - start) >= room) return NULL;
    memcpy(to, start, (size_t)(stop - start));
    to[stop - start] = 0;
    return stop + 1;
}

static int on_any(struct connection *connection, const struct reply *reply) {
    (void)connection;
    if (!reply->ok) errors++;
    return reply->ok;
}

static void build_enqueue(struct connection *connection) { post_queue(connection, "tasks", task_body); }
static void build_dequeue(struct connection *connection) { post_queue(connection, "dequeue", "{\"max\":1}"); }

static void build_ack(struct connection *connection) {
    char target[128], body[320];
    snprintf(target, sizeof target, "/v1/tasks/%s/ack", connection->id);
    int length = snprintf(body, sizeof body, "{\"lease\":\"%s\"}", connection->lease);
    post(connection, target, body, (size_t)length);
}

/* Take id and lease from a dequeue's reply; false when it is an error or holds no task. */
static bool take_task(struct connection *connection, const struct reply *reply) {
    const char *end = reply->body + reply->length;
    if (!reply->ok) { errors++; return false; }
    const char *after = find_string(reply->body, end, "id", connection->id, sizeof connection->id);
    if (after) after = find_string(after, end, "lease", connection->lease, sizeof connection->lease);
    if (!after) empties++;
    return after != NULL;
}

static int on_dequeue(struct connection *connection, const struct reply *reply) {
    if (take_task(connection, reply)) return 1;
    connection->stopped = true; /* an empty queue: polling on would measure the polling */
    return 0;
}

static void build_pair(struct connection *connection) {
    if (connection->step == 0) build_dequeue(connection);
    else build_ack(connection);
}

static int on_pair(struct connection *connection, const struct reply *reply) {
    if (connection->step == 0) {
        if (on_dequeue(connection, reply)) connection->step = 1;
        return 0;
    }
    connection->step = 0;
    return on_any(connection, reply);
}

/* Half enqueue, a quarter dequeue, a quarter ack: each of the four requests is an operation. */
static void build_mixed(struct connection *connection) {
    if (connection->step == 1) build_dequeue(connection);
    else if (connection->step == 3) build_ack(connection);
    else build_enqueue(connection);
}

static int on_mixed(struct connection *connection, const struct reply *reply) {
    if (connection->step != 1) {
        connection->step = (connection->step + 1) % 4;
        return on_any(connection, reply);
    }
    connection->step = take_task(connection, reply) ? 2 : 0;
    return reply->ok;
}

static void build_batch_enqueue(struct connection *connection) { post_queue(connection, "tasks/batch", batch_body); }

static int on_batch_enqueue(struct connection *connection, const struct reply *reply) {
    return on_any(connection, reply) * batch;
}

static void build_batch_consume(struct connection *connection) {
    char body[64];
    if (connection->step == 0) {
        snprintf(body, sizeof body, "{\"max\":%d}", batch);
        post_queue(connection, "dequeue", body);
    } else {
        post(connection, "/v1/settle", connection->scratch.data, connection->scratch.length);
    }
}

static int on_batch_consume(struct connection *connection, const struct reply *reply) {
    if (connection->step > 0) {
        int acked = connection->step;
        connection->step = 0;
        if (memmem(reply->body, reply->length, "\"code\"", 6)) errors++; /* an item that was refused */
        return on_any(connection, reply) * acked;
    }
    const char *at = reply->body, *end = reply->body + reply->length;
    connection->scratch.length = 0;
    append_text(&connection->scratch, "{\"ack\":[");
    for (int taken = 0; reply->ok; taken++) {
        at = find_string(at, end, "id", connection->id, sizeof connection->id);
        if (at) at = find_string(at, end, "lease", connection->lease, sizeof connection->lease);
        if (!at) break;
        char item[400];
        int length = snprintf(item, sizeof item, "%s{\"id\":\"%s\",\"lease\":\"%s\"}", taken ? "," : "",
                              connection->id, connection->lease);
        append(&connection->scratch, item, (size_t)length);
        connection->step = taken + 1;
    }
    append_text(&connection->scratch, "]}");
    if (!reply->ok) errors++;
    else if (connection->step == 0) empties++;
    connection->stopped = connection->step == 0;
    return 0;
}

/* ---- RESP (Redis) -------------------------------------------------------------------------------------- */

static size_t resp_length(const char *data, size_t length) {
    const char *end = memmem(data, length, "\r\n", 2);
    if (!end) return 0;
    size_t used = (size_t)(end - data) + 2;
    long number = strtol(data + 1, NULL, 10);
    if (*data == '$' && number >= 0) used += (size_t)number + 2;
    for (long item = 0; *data == '*' && item < number; item++) {
        size_t one = used < length ? resp_length(data + used, length - used) : 0;
        if (!one) return 0;
        used += one;
    }
    return used <= length ? used : 0;
}

static size_t parse_resp(const char *data, size_t length, struct reply *reply) {
    size_t used = length ? resp_length(data, length) : 0;
    *reply = (struct reply){data, used, used && *data != '-'};
    return used;
}

static void resp(struct connection *connection, int words, const char *const *word) {
    char head[32];
    append(&connection->out, head, (size_t)sprintf(head, "*%d\r\n", words));
    for (int index = 0; index < words; index++) {
        append(&connection->out, head, (size_t)sprintf(head, "$%zu\r\n", strlen(word[index])));
        append_text(&connection->out, word[index]);
        append(&connection->out, "\r\n", 2);
    }
}

static void build_lpush(struct connection *connection) {
    resp(connection, 3, (const char *[]){"LPUSH", queue, payload});
}

static void build_xadd(struct connection *connection) {
    resp(connection, 5, (const char *[]){"XADD", queue, "*", "p", payload});
}

static void build_stream(struct connection *connection) {
    char consumer[16];
    sprintf(consumer, "c%d", connection->number);
    if (connection->step == 0)
        resp(connection, 9, (const char *[]){"XREADGROUP", "GROUP", "workers", consumer, "COUNT", "1",
                                             "STREAMS", queue, ">"});
    else
        resp(connection, 4, (const char *[]){"XACK", queue, "workers", connection->id});
}

static int on_stream(struct connection *connection, const struct reply *reply) {
    if (connection->step == 1) {
        connection->step = 0;
        return on_any(connection, reply);
    }
    if (!reply->ok) errors++;
    /* [[stream, [[id, [field, value]]]]]: the id is the second bulk string. */
    const char *at = reply->body, *end = reply->body + reply->length;
    for (int bulk = 0; bulk < 2 && at; bulk++) {
        at = memchr(at, '$', (size_t)(end - at));
        if (at) at++;
    }
    if (at) at = memchr(at, '\n', (size_t)(end - at));
    const char *stop = at ? memchr(at, '\r', (size_t)(end - at)) : NULL;
    if (!stop || (size_t)(stop - at) > sizeof connection->id) {
        if (reply->ok) empties++;
        connection->stopped = true;
        return 0;
    }
    memcpy(connection->id, at + 1, (size_t)(stop - at - 1));
    connection->id[stop - at - 1] = 0;
    connection->step = 1;
    return 0;
}

/* ---- beanstalkd ------------------------------------------------------------------------------------------ */

static size_t parse_beanstalk(const char *data, size_t length, struct reply *reply) {
    const char *end = memmem(data, length, "\r\n", 2);
    if (!end) return 0;
    size_t used = (size_t)(end - data) + 2;
    if (strncmp(data, "RESERVED ", 9) == 0) {
        char *rest;
        strtoul(data + 9, &rest, 10);
        used += strtoul(rest, NULL, 10) + 2;
    }
    bool ok = !strncmp(data, "INSERTED", 8) || !strncmp(data, "RESERVED", 8) || !strncmp(data, "DELETED", 7) ||
              !strncmp(data, "TIMED_OUT", 9);
    *reply = (struct reply){data, used, ok};
    return used <= length ? used : 0;
}

static void build_put(struct connection *connection) {
    char head[64];
    append(&connection->out, head, (size_t)sprintf(head, "put 0 0 60 %zu\r\n", strlen(payload)));
    append_text(&connection->out, payload);
    append(&connection->out, "\r\n", 2);
}

static void build_reserve(struct connection *connection) {
    char line[96];
    if (connection->step == 0) strcpy(line, "reserve-with-timeout 0\r\n");
    else sprintf(line, "delete %s\r\n", connection->id);
    append_text(&connection->out, line);
}

static int on_reserve(struct connection *connection, const struct reply *reply) {
    if (connection->step == 1) {
        connection->step = 0;
        return on_any(connection, reply);
    }
    if (!reply->ok) errors++;
    if (!reply->ok || reply->body[0] == 'T') {
        empties += reply->ok;
        connection->stopped = true;
        return 0;
    }
    snprintf(connection->id, sizeof connection->id, "%lu", strtoul(reply->body + 9, NULL, 10));
    connection->step = 1;
    return 0;
}

static const struct mode modes[] = {
    {"get", parse_http, build_get, on_any},
    {"connect", parse_http, build_get, on_any},
    {"enqueue", parse_http, build_enqueue, on_any},
    {"dequeue", parse_http, build_dequeue, on_dequeue},
    {"pair", parse_http, build_pair, on_pair},
    {"mixed", parse_http, build_mixed, on_mixed},
    {"batch-enqueue", parse_http, build_batch_enqueue, on_batch_enqueue},
    {"batch-consume", parse_http, build_batch_consume, on_batch_consume},
    {"redis-lpush", parse_resp, build_lpush, on_any},
    {"redis-xadd", parse_resp, build_xadd, on_any},
    {"redis-stream", parse_resp, build_stream, on_stream},
    {"beanstalk-put", parse_beanstalk, build_put, on_any},
    {"beanstalk-pair", parse_beanstalk, build_reserve, on_reserve},
};

/* ---- the loop ---------------------------------------------------------------------------------------------- */

static void watch(struct connection *connection, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poller, operation, connection->fd, &event)) die("epoll_ctl");
}

static void open_connection(struct connection *connection) {
    int yes = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) die("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (one_shot && ntohl(address.sin_addr.s_addr) >> 24 == 127) {
        /* Ports in TIME_WAIT would run out within seconds: spread the connections over 100 loopback addresses. */
        static uint32_t turn;
        struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + turn++ % 100)};
        setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(connection->fd, (struct sockaddr *)&source, sizeof source)) die("bind");
    }
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
    connection->waits_to_write = true; /* until connected */
    connection->in.length = 0;
    watch(connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void finish(struct connection *connection) {
    if (!connection->busy) return;
    connection->busy = false;
    busy_connections--;
}

static void drop(struct connection *connection) {
    close(connection->fd);
    connection->fd = -1;
    connection->step = 0;
    finish(connection);
}

/* A connection that broke with a request outstanding is an error, and is opened anew. */
static void broken(struct connection *connection) {
    if (connection->busy) errors++;
    drop(connection);
    if (errors > 1000 && operations == 0) {
        fprintf(stderr, "load: the server refuses every connection\n");
        exit(1);
    }
    if (!one_shot) open_connection(connection);
}

static void flush_out(struct connection *connection) {
    while (connection->sent < connection->out.length) {
        ssize_t wrote = send(connection->fd, connection->out.data + connection->sent,
                             connection->out.length - connection->sent, MSG_NOSIGNAL);
        if (wrote < 0 && errno == EAGAIN) {
            if (!connection->waits_to_write) watch(connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            connection->waits_to_write = true;
            return;
        }
        if (wrote < 0) { broken(connection); return; }
        connection->sent += (size_t)wrote;
    }
    if (connection->waits_to_write) watch(connection, EPOLLIN, EPOLL_CTL_MOD);
    connection->waits_to_write = false;
}

static bool over(int64_t now) { return now >= deadline_ns || (count && issued >= count); }

static void request(struct connection *connection) {
    connection->out.length = connection->sent = 0;
    mode->build(connection);
    if (!connection->waits_to_write) flush_out(connection);
}

/* Begin operations on an idle connection if one is due; an operation counts from when it was due. */
static void begin(struct connection *connection, int64_t now) {
    if (connection->busy || connection->stopped || over(now)) return;
    int64_t due = rate > 0 ? started_ns + (int64_t)(issued * 1e9 / rate) : now;
    if (due > now) return;
    issued += strncmp(mode->name, "batch", 5) ? 1 : batch;
    connection->busy = true;
    busy_connections++;
    connection->due_ns = due;
    connection->sent_ns = now;
    if (connection->fd < 0) open_connection(connection);
    request(connection);
}

static void complete(struct connection *connection, const struct reply *reply, int64_t now) {
    int before = connection->step, done = mode->on_reply(connection, reply);
    operations += done;
    if (before == 3 && mode->on_reply == on_mixed) {
        record(&acks, now - connection->sent_ns);
        ack_errors += !reply->ok;
    }
    if (done || (connection->step == 0 && before == 0)) {
        record(&latency, now - connection->due_ns);
        record(&service, now - connection->sent_ns);
    }
    finished_ns = now;
    bool continues = connection->step != 0 && !connection->stopped && mode->on_reply != on_mixed;
    if (continues) { request(connection); return; }
    if (one_shot) drop(connection);
    else finish(connection);
    begin(connection, now);
}

static void on_readable(struct connection *connection) {
    for (;;) {
        reserve(&connection->in, 65536);
        ssize_t got = recv(connection->fd, connection->in.data + connection->in.length, 65536, 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) { broken(connection); return; }
        connection->in.length += (size_t)got;
        if (got < 65536) break;
    }
    struct reply reply;
    size_t used = mode->parse(connection->in.data, connection->in.length, &reply);
    if (!used || !connection->busy) return;
    /* Never pipelined, so the reply is the whole input: nothing is left behind it. */
    connection->in.length = 0;
    complete(connection, &reply, now_ns());
}

static void begin_all(void) {
    int64_t now = now_ns();
    static int next; /* round and round, so that a low rate uses every connection */
    for (int tried = 0; tried < connections; tried++, next = (next + 1) % connections) {
        if (over(now) || (rate > 0 && started_ns + (int64_t)(issued * 1e9 / rate) > now)) return;
        begin(&all[next], now);
    }
}

static void arm_timer(void) {
    int64_t due = started_ns + (int64_t)(issued * 1e9 / rate);
    struct itimerspec when = {.it_value = {due / 1000000000, due % 1000000000}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL)) die("timerfd_settime");
}

static bool all_stopped(void) {
    for (int index = 0; index < connections; index++)
        if (!all[index].stopped) return false;
    return true;
}

static void run(void) {
    struct epoll_event events[256];
    started_ns = finished_ns = now_ns();
    deadline_ns = started_ns + (int64_t)(seconds * 1e9);
    begin_all();
    for (;;) {
        int64_t now = now_ns();
        if ((over(now) || all_stopped()) && busy_connections == 0) return;
        if (now > deadline_ns + 10000000000LL) { errors += busy_connections; return; } /* replies never came */
        /* With every connection busy nothing could begin: a timer that is due already would only spin. */
        if (rate > 0 && !over(now) && busy_connections < connections) arm_timer();
        int ready = epoll_wait(poller, events, 256, 20);
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            uint64_t expirations;
            if (!connection) { /* the timer */
                if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) die("timer");
                continue;
            }
            if (connection->fd >= 0 && events[index].events & EPOLLOUT) flush_out(connection);
            if (connection->fd >= 0 && events[index].events & ~(uint32_t)EPOLLOUT) on_readable(connection);
        }
        begin_all();
    }
}

/* ---- start and report ----------------------------------------------------------------------------------------- */

static void prepare(void) {
    payload = malloc((size_t)payload_bytes + 1);
    memset(payload, 'x', (size_t)payload_bytes);
    payload[payload_bytes] = 0;
    task_body = malloc((size_t)payload_bytes + 32);
    sprintf(task_body, "{\"payload\":\"%.*s\"}", payload_bytes - 2, payload); /* the quotes are two of the bytes */
    struct buffer all_tasks = {0};
    append_text(&all_tasks, "{\"tasks\":[");
    for (int index = 0; index < batch; index++) {
        if (index) append(&all_tasks, ",", 1);
        append_text(&all_tasks, task_body);
    }
    append(&all_tasks, "]}", 3);
    batch_body = all_tasks.data;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) { errno = EINVAL; die(host); }
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (poller < 0 || timer < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event)) die("epoll");
    prctl(PR_SET_TIMERSLACK, 1UL);
    all = calloc((size_t)connections, sizeof *all);
    for (int index = 0; index < connections; index++) {
        all[index].number = index;
        all[index].fd = -1;
        if (!one_shot) open_connection(&all[index]);
    }
}

static void report(void) {
    double elapsed = (double)(finished_ns - started_ns) / 1e9;
    printf("{\"mode\":\"%s\",\"ops\":%lld,\"seconds\":%.4f,\"ops_per_s\":%.1f,\"errors\":%lld,\"empty\":%lld,"
           "\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"service_p50_us\":%.1f,"
           "\"acks\":%llu,\"ack_errors\":%lld,\"ack_p50_us\":%.1f,\"ack_p99_us\":%.1f}\n",
           mode->name, operations, elapsed, elapsed > 0 ? operations / elapsed : 0, errors, empties,
           percentile_us(&latency, 0.5), percentile_us(&latency, 0.9), percentile_us(&latency, 0.99),
           (double)latency.max / 1000, percentile_us(&service, 0.5),
           (unsigned long long)acks.total, ack_errors, percentile_us(&acks, 0.5), percentile_us(&acks, 0.99));
}

int main(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "h:p:c:s:n:r:q:b:l:")) != -1;) switch (option) {
        case 'h': host = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'n': count = atoll(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'q': queue = optarg; break;
        case 'b': batch = atoi(optarg); break;
        case 'l': payload_bytes = atoi(optarg); break;
        default: usage();
    }
    if (optind >= argc || connections < 1 || batch < 1 || payload_bytes < 2) usage();
    for (size_t index = 0; index < sizeof modes / sizeof *modes; index++)
        if (!strcmp(modes[index].name, argv[optind])) mode = &modes[index];
    if (!mode) usage();
    if (optind + 1 < argc) path = argv[optind + 1];
    one_shot = !strcmp(mode->name, "connect");
    signal(SIGPIPE, SIG_IGN);
    prepare();
    run();
    report();
    return 0;
}
