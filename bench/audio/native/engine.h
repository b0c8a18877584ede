/* What the two halves of the engine share: connections (engine.c), and calls (calls.c). */
#pragma once
#include <stdint.h>

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { COLD_NONE, COLD_TEXT, COLD_VOICE, COLD_ENDED, COLD_WRONG };
enum { ENDED_CLOSED, ENDED_DROPPED, ENDED_LEFT };
enum { UP, DOWN, CLEAR, LATE, SAMPLES };
enum {
    CONNS = 65536,
    READ_BYTES = 65536,
    ROUNDS = 16,
    SLOTS = 40,
    SLOT_NS = 500000,
    FRAME_BYTES = 160,
    HEAD_BYTES = 24,
    PAYLOAD_CHARS = 216,
    WAITING = 2048,  /* frames of one caller on their way: 40 s */
    MARKS = 1024,
    NAME_BYTES = 40,
    ITEMS = 8,
    PIECES = 64,
    BACKLOG_BYTES = 131072  /* Twilio's warning 31930: five seconds of media that are not read */
};

typedef struct {
    char *bytes;
    int size, room;
} buffer;

typedef struct {
    int kind, index, size;
    double at;
    char *text;
} cold;

typedef struct {
    double *ms;
    int count, room;
} samples;

typedef struct call call;

typedef struct {
    int fd, index, open, client;
    unsigned char mask[4];
    buffer read, unsent, parts;
    call *call;   /* a caller's own connection: whose it is */
    call *party;  /* a model's connection: the call that it belongs to */
} conn;

typedef struct {
    uint8_t *audio;
    int size, heard, pieces, first_piece, given_up;
    int upto[PIECES];
    double at[PIECES];
} item;

struct call {
    conn *line;
    call *next;
    int slot;
    uint32_t number, sequence, sent, arrived;
    char stream_sid[40], media_head[96], mark_head[96], clear_text[96];
    double sent_at[WAITING], must_arrive_from, dry_at, interrupted_at;
    struct {
        double due;
        char name[NAME_BYTES];
    } marks[MARKS];
    uint32_t first_mark, last_mark;
    item items[ITEMS];
    uint32_t first_item, last_item;
    int counted; /* the system transcodes: its sound is counted, and not compared */
};

typedef struct {
    int epoll, timer, conns_count;
    double began;
    uint64_t slot;
    call *slots[SLOTS];
    conn *conns[CONNS];
    cold *cold;
    int cold_count, cold_room, cold_read;
    samples samples[SAMPLES];
} engine;

double engine_now(void);
void tell(engine *, int kind, int index, const void *text, int size);
void complain(engine *, int index, const char *what);
void sample(engine *, int which, double seconds);
void send_frame(engine *, conn *, int opcode, const void *body, int size);
void flush(engine *, conn *);
void leave_slot(engine *, call *);
void step(engine *, call *, double now);
void take_text(engine *, conn *, char *text, int size, double now);
