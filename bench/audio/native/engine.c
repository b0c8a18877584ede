/*
 * The hot half of the load generator: callers that send a frame every 20 ms, and the checking of every byte that
 * arrives, on both ways. What is rare (settings, tools, closes) is queued for Python. One thread, no locks.
 *
 * Python adds `engine_fd` to its event loop and calls `engine_turn` whenever it is readable.
 * Times are seconds of CLOCK_MONOTONIC, which is Python's `time.monotonic`.
 */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

double engine_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* --- what Python is told */

void tell(engine *e, int kind, int index, const void *text, int size) {
    if (e->cold_count == e->cold_room) {
        e->cold_room = e->cold_room ? e->cold_room * 2 : 1024;
        e->cold = realloc(e->cold, sizeof(cold) * e->cold_room);
    }
    cold *told = &e->cold[e->cold_count++];
    told->kind = kind;
    told->index = index;
    told->size = size;
    told->at = engine_now();
    told->text = malloc(size + 1);
    memcpy(told->text, text, size);
    told->text[size] = 0;
}

void complain(engine *e, int index, const char *what) { tell(e, COLD_WRONG, index, what, (int)strlen(what)); }

int engine_cold(engine *e, int *index, const char **text, int *size, double *at) {
    if (e->cold_read == e->cold_count) {
        for (int i = 0; i < e->cold_count; i++) free(e->cold[i].text);
        e->cold_read = e->cold_count = 0;
        return COLD_NONE;
    }
    cold *told = &e->cold[e->cold_read++];
    *index = told->index;
    *text = told->text;
    *size = told->size;
    *at = told->at;
    return told->kind;
}

/* --- samples */

void sample(engine *e, int which, double seconds) {
    samples *of = &e->samples[which];
    if (of->count == of->room) {
        of->room = of->room ? of->room * 2 : 65536;
        of->ms = realloc(of->ms, sizeof(double) * of->room);
    }
    of->ms[of->count++] = seconds * 1000;
}

int engine_samples(engine *e, int which, const double **ms) {
    *ms = e->samples[which].ms;
    return e->samples[which].count;
}

void engine_forget_samples(engine *e) {
    for (int i = 0; i < SAMPLES; i++) e->samples[i].count = 0;
}

/* --- connections */

static void closed(engine *e, conn *c, int how) {
    if (!c->open) return;
    c->open = 0;
    epoll_ctl(e->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    free(c->read.bytes);
    free(c->unsent.bytes);
    free(c->parts.bytes);
    memset(&c->read, 0, sizeof(buffer));
    memset(&c->unsent, 0, sizeof(buffer));
    memset(&c->parts, 0, sizeof(buffer));
    if (c->call) leave_slot(e, c->call);
    tell(e, COLD_ENDED, c->index, how == ENDED_CLOSED ? "closed" : how == ENDED_LEFT ? "left" : "dropped",
         how == ENDED_CLOSED ? 6 : how == ENDED_LEFT ? 4 : 7);
}

static void more(buffer *to, const void *bytes, int size) {
    if (to->size + size > to->room) {
        to->room = (to->size + size) * 2;
        to->bytes = realloc(to->bytes, to->room);
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

void flush(engine *e, conn *c) {
    int sent = (int)send(c->fd, c->unsent.bytes, c->unsent.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) closed(e, c, ENDED_DROPPED);
    if (sent <= 0) return;
    c->unsent.size -= sent;
    memmove(c->unsent.bytes, c->unsent.bytes + sent, c->unsent.size);
}

static void write_all(engine *e, conn *c, const void *bytes, int size) {
    int sent = 0;
    if (!c->open) return;
    if (!c->unsent.size) {
        sent = (int)send(c->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            closed(e, c, ENDED_DROPPED);
            return;
        }
        if (sent < 0) sent = 0;
    }
    if (sent < size) more(&c->unsent, (const char *)bytes + sent, size - sent);
}

/* One unfragmented frame, masked where we are the client. */
void send_frame(engine *e, conn *c, int opcode, const void *body, int size) {
    static unsigned char out[1 << 20];
    int at = 2, masked = c->client ? 0x80 : 0;
    if (size > (int)sizeof(out) - 16) return;
    out[0] = 0x80 | opcode;
    if (size < 126) {
        out[1] = masked | size;
    } else if (size < 65536) {
        out[1] = masked | 126;
        out[at++] = size >> 8;
        out[at++] = size & 0xFF;
    } else {
        out[1] = masked | 127;
        for (int shift = 56; shift >= 0; shift -= 8) out[at++] = (unsigned char)((unsigned long)size >> shift);
    }
    if (masked) {
        memcpy(out + at, c->mask, 4);
        at += 4;
    }
    memcpy(out + at, body, size);
    if (masked) {
        for (int i = 0; i < size; i++) out[at + i] ^= c->mask[i & 3];
    }
    write_all(e, c, out, at + size);
}

static void take_frame(engine *e, conn *c, int first, char *body, int size, double now) {
    int opcode = first & 0x0F;
    if (opcode == OP_PING) {
        send_frame(e, c, OP_PONG, body, size);
    } else if (opcode == OP_CLOSE) {
        send_frame(e, c, OP_CLOSE, body, size < 2 ? size : 2);
        closed(e, c, ENDED_CLOSED);
    } else if (opcode == OP_TEXT && (first & 0x80)) {
        take_text(e, c, body, size, now);
    } else if (opcode == OP_TEXT || opcode == OP_CONTINUATION) {
        more(&c->parts, body, size);
        if (first & 0x80) {
            take_text(e, c, c->parts.bytes, c->parts.size, now);
            c->parts.size = 0;
        }
    } else if (opcode != OP_PONG) {
        complain(e, c->index, "changed: a frame that is no text");
        closed(e, c, ENDED_DROPPED);
    }
}

/* The size of the frame at `from`, its head included; 0 if it is not all there. */
static long whole_frame(conn *c, int from, int *body_at, long *size) {
    unsigned char *in = (unsigned char *)c->read.bytes + from;
    int left = c->read.size - from, head = 2;
    if (left < 2) return 0;
    *size = in[1] & 0x7F;
    if (*size == 126) head = 4;
    if (*size == 127) head = 10;
    if (left < head) return 0;
    if (head > 2) *size = 0;
    for (int i = 2; i < head; i++) *size = *size << 8 | in[i];
    if (in[1] & 0x80) head += 4;
    *body_at = from + head;
    return left < head + *size ? 0 : head + *size;
}

static void take_frames(engine *e, conn *c, double now) {
    int from = 0, body_at;
    long size, whole;
    while (c->open && (whole = whole_frame(c, from, &body_at, &size))) {
        unsigned char first = (unsigned char)c->read.bytes[from];
        char *body = c->read.bytes + body_at;
        if (c->read.bytes[from + 1] & 0x80) {
            for (long i = 0; i < size; i++) body[i] ^= body[i % 4 - 4];
        }
        from += (int)whole;
        take_frame(e, c, first, body, (int)size, now);
    }
    if (!c->open) return;
    c->read.size -= from;
    memmove(c->read.bytes, c->read.bytes + from, c->read.size);
}

static void read_some(engine *e, conn *c) {
    if (c->read.room - c->read.size < READ_BYTES) {
        c->read.room = c->read.size + 2 * READ_BYTES;
        c->read.bytes = realloc(c->read.bytes, c->read.room);
    }
    int got = (int)recv(c->fd, c->read.bytes + c->read.size, c->read.room - c->read.size, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        closed(e, c, ENDED_DROPPED);
        return;
    }
    c->read.size += got;
    take_frames(e, c, engine_now());
}

int conn_open(engine *e, int fd, int client, const char *held, int size) {
    if (e->conns_count == CONNS) return -1;
    conn *c = calloc(1, sizeof(conn));
    c->fd = fd;
    c->open = 1;
    c->client = client;
    c->index = e->conns_count;
    unsigned mask = 0x9E3779B9u * (unsigned)(c->index + 1);
    memcpy(c->mask, &mask, 4);
    e->conns[e->conns_count++] = c;
    if (size) more(&c->read, held, size);
    return c->index;
}

/* From now on what comes is handed on. */
void conn_begin(engine *e, int index) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = e->conns[index]};
    take_frames(e, e->conns[index], engine_now());
    if (e->conns[index]->open) epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->conns[index]->fd, &wanted);
}

void conn_send(engine *e, int index, const char *text, int size) { send_frame(e, e->conns[index], OP_TEXT, text, size); }

void conn_close(engine *e, int index, int say_so) {
    if (say_so) send_frame(e, e->conns[index], OP_CLOSE, "\x03\xe8", 2);
    closed(e, e->conns[index], ENDED_LEFT);
}

/* --- the loop */

engine *engine_new(void) {
    engine *e = calloc(1, sizeof(engine));
    struct itimerspec every = {{0, SLOT_NS}, {0, SLOT_NS}};
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL};
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    e->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timerfd_settime(e->timer, 0, &every, NULL);
    epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->timer, &wanted);
    e->began = engine_now();
    return e;
}

int engine_fd(engine *e) { return e->epoll; }

static void tick(engine *e) {
    unsigned long passed;
    if (read(e->timer, &passed, sizeof passed) < 0) return;
    double due, now = engine_now();
    while ((due = e->began + e->slot * (SLOT_NS / 1e9)) <= now) {
        call *c = e->slots[e->slot++ % SLOTS];
        if (c) sample(e, LATE, now - due);
        while (c) {
            call *next = c->next;
            step(e, c, engine_now());
            c = next;
        }
        now = engine_now();
    }
}

/* Handle what is ready, and what has become ready meanwhile: looking again costs less than going round Python's loop.
 * What Python must know waits in `engine_cold`, so it is not kept waiting for long. */
void engine_turn(engine *e) {
    struct epoll_event ready[256];
    for (int round = 0; round < ROUNDS && !e->cold_count; round++) {
        int count = epoll_wait(e->epoll, ready, 256, 0);
        if (count <= 0) return;
        for (int i = 0; i < count; i++) {
            conn *c = ready[i].data.ptr;
            if (!c) {
                tick(e);
            } else if (c->open) {
                read_some(e, c);
            }
        }
    }
}

void engine_end(engine *e) {
    for (int i = 0; i < e->conns_count; i++) {
        if (e->conns[i]->open) closed(e, e->conns[i], ENDED_LEFT);
    }
    close(e->timer);
    close(e->epoll);
}
