/* One call: the caller's frames on their way up, the model's items on their way down, marks, and the playing clock. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char APPEND[] = "{\"type\":\"input_audio_buffer.append\",\"audio\":\"";
enum { APPEND_CHARS = sizeof(APPEND) - 1, FILLERS = 256, FILLER_BYTES = FRAME_BYTES - HEAD_BYTES };

/* --- blocks: 160 bytes of the softest µ-law, which say whose they are. 24 digits, then filler that is known. */

static uint8_t fillers[FILLERS][FILLER_BYTES];

static void make_fillers(void) {
    uint32_t state = 160;
    for (int i = 0; i < FILLERS * FILLER_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        fillers[i / FILLER_BYTES][i % FILLER_BYTES] = 0xF0 | (state >> 24 & 0x0F);
    }
}

static void digits(uint8_t *to, int count, uint32_t value) {
    for (int i = count - 1; i >= 0; i--, value >>= 4) to[i] = 0xF0 | (value & 0x0F);
}

static uint32_t number(const uint8_t *from, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++) value = value << 4 | (from[i] & 0x0F);
    return value;
}

/* Call (8 digits), item (8; 0 is the caller's own voice), place in it (8). */
void write_block(uint8_t *to, uint32_t call_number, uint32_t item_number, uint32_t place) {
    if (!fillers[0][0]) make_fillers();
    digits(to, 8, call_number);
    digits(to + 8, 8, item_number);
    digits(to + 16, 8, place);
    memcpy(to + HEAD_BYTES, fillers[(call_number * 31 + place) % FILLERS], FILLER_BYTES);
}

static int to_base64(char *to, const uint8_t *from, int size) {
    char *at = to;
    for (int i = 0; i < size; i += 3) {
        uint32_t three = from[i] << 16 | (i + 1 < size ? from[i + 1] << 8 : 0) | (i + 2 < size ? from[i + 2] : 0);
        *at++ = BASE64[three >> 18];
        *at++ = BASE64[three >> 12 & 63];
        *at++ = i + 1 < size ? BASE64[three >> 6 & 63] : '=';
        *at++ = i + 2 < size ? BASE64[three & 63] : '=';
    }
    return (int)(at - to);
}

/* How many bytes came out; -1 if it is not base64. */
static int from_base64(uint8_t *to, const char *from, int chars) {
    static int8_t values[256];
    if (!values['A']) {
        memset(values, -1, sizeof values);
        for (int i = 0; i < 64; i++) values[(uint8_t)BASE64[i]] = (int8_t)i;
        values['A'] = 64; /* so that a table that is made is told from one that is not */
    }
    int size = 0, pad = 0;
    if (chars % 4) return -1;
    for (int i = 0; i < chars; i += 4) {
        uint32_t four = 0;
        for (int k = 0; k < 4; k++) {
            uint8_t c = (uint8_t)from[i + k];
            int value = c == 'A' ? 0 : values[c];
            if (c == '=' && i + 4 == chars && k > 1) {
                pad++;
                value = 0;
            } else if (value < 0 || pad) {
                return -1;
            }
            four = four << 6 | (uint32_t)value;
        }
        to[size++] = four >> 16;
        if (pad < 2) to[size++] = four >> 8 & 0xFF;
        if (pad < 1) to[size++] = four & 0xFF;
    }
    return size;
}

/* --- up: from the caller to the model */

static void make_payload(char *to, const call *c, uint32_t place) {
    uint8_t block[FRAME_BYTES];
    write_block(block, c->number, 0, place);
    to_base64(to, block, FRAME_BYTES);
}

static void numbered(engine *e, call *c, const char *body) {
    char text[256];
    c->sequence++;
    int size = snprintf(text, sizeof text, "{%s,\"sequenceNumber\":\"%u\",\"streamSid\":\"%s\"}", body, c->sequence,
                        c->stream_sid);
    send_frame(e, c->line, OP_TEXT, text, size);
}

static void return_mark(engine *e, call *c, const char *name) {
    char body[128];
    snprintf(body, sizeof body, "\"event\":\"mark\",\"mark\":{\"name\":\"%s\"}", name);
    numbered(e, c, body);
}

/* 20 ms have passed: marks that have been played go back, and a frame is sent. */
void step(engine *e, call *c, double now) {
    char text[512];
    conn *line = c->line;
    if (line->unsent.size) flush(e, line);
    while (c->first_mark != c->last_mark && c->marks[c->first_mark % MARKS].due <= now) {
        return_mark(e, c, c->marks[c->first_mark++ % MARKS].name);
    }
    if (!line->open) return;
    if (c->sent - c->arrived >= WAITING) {
        if (c->must_arrive_from > 0) complain(e, line->index, "lost: a frame has not arrived for 40 s");
        c->arrived++;
    }
    c->sequence++;
    int size = snprintf(text, sizeof text,
                        "{\"event\":\"media\",\"sequenceNumber\":\"%u\",\"media\":{\"track\":\"inbound\",\"chunk\":"
                        "\"%u\",\"timestamp\":\"%u\",\"payload\":\"",
                        c->sequence, c->sent + 1, c->sent * 20);
    make_payload(text + size, c, c->sent);
    size += PAYLOAD_CHARS;
    size += snprintf(text + size, sizeof text - size, "\"},\"streamSid\":\"%s\"}", c->stream_sid);
    c->sent_at[c->sent++ % WAITING] = now;
    send_frame(e, line, OP_TEXT, text, size);
    if (line->unsent.size > BACKLOG_BYTES) complain(e, line->index, "31930: the caller is not read");
}

static void say_what_is_wrong(engine *e, call *c, const uint8_t *audio, int size) {
    char what[160];
    uint8_t block[FRAME_BYTES];
    uint32_t of = 0, said = 0, place = 0;
    int whole = size >= FRAME_BYTES;
    if (whole) {
        of = number(audio, 8), said = number(audio + 8, 8), place = number(audio + 16, 8);
        write_block(block, of, said, place);
        whole = !memcmp(block, audio, FRAME_BYTES);
    }
    if (!whole) {
        snprintf(what, sizeof what, "changed: call %u was given %d bytes that nobody sent", c->number, size);
    } else if (of != c->number) {
        snprintf(what, sizeof what, "crossed: call %u was given sound of call %u", c->number, of);
    } else {
        snprintf(what, sizeof what, "out of order: call %u, item %u, block %u", c->number, said, place);
    }
    complain(e, c->line->index, what);
}

/* One block of the caller's has arrived: the next one, unless some were lost. Returns when it was sent; 0 if never. */
static double find_block(engine *e, call *c, const uint8_t *audio) {
    uint8_t block[FRAME_BYTES];
    for (uint32_t place = c->arrived; place != c->sent; place++) {
        write_block(block, c->number, 0, place);
        if (memcmp(block, audio, FRAME_BYTES)) continue;
        for (; c->arrived != place; c->arrived++) {
            double at = c->sent_at[c->arrived % WAITING];
            if (c->must_arrive_from > 0 && at > c->must_arrive_from) {
                complain(e, c->line->index, "lost: a frame was passed over");
            }
        }
        c->arrived++;
        return c->sent_at[place % WAITING];
    }
    say_what_is_wrong(e, c, audio, FRAME_BYTES);
    return 0;
}

/* An append has come: one frame as it was sent, or several in one piece. */
static void voice_arrived(engine *e, call *c, const char *payload, int chars, double now) {
    static uint8_t audio[1 << 16];
    char expected[PAYLOAD_CHARS];
    if (chars == PAYLOAD_CHARS && c->arrived != c->sent) {
        make_payload(expected, c, c->arrived);
        if (!memcmp(expected, payload, PAYLOAD_CHARS)) {
            sample(e, UP, now - c->sent_at[c->arrived++ % WAITING]);
            return;
        }
    }
    int size = chars < (1 << 16) ? from_base64(audio, payload, chars) : -1;
    double at = 0;
    if (size <= 0 || size % FRAME_BYTES) {
        say_what_is_wrong(e, c, audio, size > 0 ? size : 0);
        return;
    }
    for (int from = 0; from < size; from += FRAME_BYTES) at = find_block(e, c, audio + from);
    if (at > 0) sample(e, UP, now - at);
}

void call_voice(engine *e, int line, const char *payload, int chars, double now) {
    voice_arrived(e, e->conns[line]->call, payload, chars, now);
}

/* Which call an append belongs to; 0 if it is nobody's voice. */
int voice_owner(const char *payload, int chars) {
    uint8_t audio[FRAME_BYTES + 3], block[FRAME_BYTES];
    if (chars < PAYLOAD_CHARS || from_base64(audio, payload, PAYLOAD_CHARS) != FRAME_BYTES) return 0;
    write_block(block, number(audio, 8), 0, number(audio + 16, 8));
    return memcmp(block, audio, FRAME_BYTES) ? 0 : (int)number(audio, 8);
}

/* Frames sent before `before` that should have arrived and have not. */
int call_missing(engine *e, int line, double before) {
    call *c = e->conns[line]->call;
    int missing = 0;
    for (uint32_t place = c->arrived; place != c->sent; place++) {
        double at = c->sent_at[place % WAITING];
        missing += c->must_arrive_from > 0 && at > c->must_arrive_from && at < before;
    }
    return missing;
}

/* So many frames have arrived in all, as far as their number tells. */
void call_counted(engine *e, int line, int frames, double now) {
    call *c = e->conns[line]->call;
    if (!c->counted) {
        c->counted = 1;
        c->arrived = c->sent - (uint32_t)frames < c->sent ? c->sent - (uint32_t)frames : 0;
    }
    for (; frames > 0 && c->arrived != c->sent; frames--) c->arrived++;
    if (c->arrived) sample(e, UP, now - c->sent_at[(c->arrived - 1) % WAITING]);
}

void call_configured(engine *e, int line, double now) { e->conns[line]->call->must_arrive_from = now; }

/* --- down: from the model to the caller */

/* A new item of so many blocks; its sound is written to `audio`. */
void call_new_item(engine *e, int line, uint32_t item_number, int blocks, uint8_t *audio) {
    call *c = e->conns[line]->call;
    if (c->last_item - c->first_item == ITEMS) free(c->items[c->first_item++ % ITEMS].audio);
    item *made = &c->items[c->last_item++ % ITEMS];
    memset(made, 0, sizeof(item));
    made->size = blocks * FRAME_BYTES;
    made->audio = malloc(made->size);
    for (int i = 0; i < blocks; i++) write_block(made->audio + i * FRAME_BYTES, c->number, item_number, i);
    memcpy(audio, made->audio, made->size);
}

/* A piece of the newest item, up to this byte, is sent now. */
void call_piece_sent(engine *e, int line, int upto) {
    call *c = e->conns[line]->call;
    if (c->first_item == c->last_item) return;
    item *said = &c->items[(c->last_item - 1) % ITEMS];
    if (said->pieces == PIECES) return;
    said->upto[said->pieces] = upto;
    said->at[said->pieces++] = engine_now();
}

/* Nobody needs the rest of what has been said so far: it may come, or not. */
void call_give_up(engine *e, int line) {
    call *c = e->conns[line]->call;
    for (uint32_t i = c->first_item; i != c->last_item; i++) c->items[i % ITEMS].given_up = 1;
}

static int fits(const item *said, const uint8_t *audio, int size) {
    return said->size - said->heard >= size && !memcmp(said->audio + said->heard, audio, size);
}

void call_heard(engine *e, int line, const uint8_t *audio, int size, double now) {
    call *c = e->conns[line]->call;
    c->dry_at = (c->dry_at > now ? c->dry_at : now) + size / 8000.0;
    while (c->first_item != c->last_item && c->items[c->first_item % ITEMS].heard == c->items[c->first_item % ITEMS].size) {
        free(c->items[c->first_item++ % ITEMS].audio);
    }
    item *next = c->first_item == c->last_item ? NULL : &c->items[c->first_item % ITEMS];
    while (next && next->given_up && !c->counted && !fits(next, audio, size)) {
        free(next->audio);
        c->first_item++;
        next = c->first_item == c->last_item ? NULL : &c->items[c->first_item % ITEMS];
    }
    if (next && c->counted && next->size - next->heard < size) size = next->size - next->heard;
    if (c->counted && !next) return;
    if (!c->counted && (!next || !fits(next, audio, size))) {
        tell(e, COLD_VOICE, c->line->index, audio, size); /* the gateway's own sound, or a mistake: Python knows */
        return;
    }
    next->heard += size;
    while (next->first_piece < next->pieces && next->upto[next->first_piece] < next->heard) next->first_piece++;
    if (next->first_piece < next->pieces) sample(e, DOWN, now - next->at[next->first_piece]);
}

void call_unknown_sound(engine *e, int line, const uint8_t *audio, int size) {
    say_what_is_wrong(e, e->conns[line]->call, audio, size);
}

void call_mark(engine *e, int line, const char *name, double now) {
    call *c = e->conns[line]->call;
    if (c->dry_at <= now) {
        return_mark(e, c, name);
    } else if (c->last_mark - c->first_mark < MARKS) {
        c->marks[c->last_mark % MARKS].due = c->dry_at;
        snprintf(c->marks[c->last_mark++ % MARKS].name, NAME_BYTES, "%s", name);
    } else {
        complain(e, line, "31951: a thousand marks are out");
    }
}

/* `clear`: what waits is thrown away, and every mark that is out goes back. Of a newest item that nothing was heard of
   nobody can tell whether it was begun before or after: it was ordered on another socket. It may come, or not. */
void call_clear(engine *e, int line, double now) {
    call *c = e->conns[line]->call;
    if (c->interrupted_at > 0) sample(e, CLEAR, now - c->interrupted_at);
    c->interrupted_at = 0;
    c->dry_at = now;
    while (c->first_item != c->last_item) {
        item *said = &c->items[c->first_item % ITEMS];
        if (c->first_item + 1 == c->last_item && !said->heard) {
            said->given_up = 1;
            break;
        }
        free(said->audio);
        c->first_item++;
    }
    while (c->first_mark != c->last_mark) return_mark(e, c, c->marks[c->first_mark++ % MARKS].name);
}

/* Whether the caller hears something. If so and `interrupts`, the time to the next `clear` is measured from now. */
int call_is_playing(engine *e, int line, int interrupts) {
    call *c = e->conns[line]->call;
    double now = engine_now();
    if (now < c->dry_at && interrupts) c->interrupted_at = now;
    return now < c->dry_at;
}

/* --- messages */

static int begins(const char *text, int size, const char *with, int length) {
    return size >= length && !memcmp(text, with, length);
}

static void from_gateway(engine *e, call *c, char *text, int size, double now) {
    static uint8_t audio[1 << 16];
    int media = (int)strlen(c->media_head), mark = (int)strlen(c->mark_head), heard;
    if (size > 3 && !memcmp(text + size - 3, "\"}}", 3)) {
        if (begins(text, size, c->media_head, media) && size < (1 << 16) &&
            (heard = from_base64(audio, text + media, size - media - 3)) > 0) {
            call_heard(e, c->line->index, audio, heard, now);
            return;
        }
        if (begins(text, size, c->mark_head, mark) && size - mark - 3 < NAME_BYTES) {
            char name[NAME_BYTES] = {0};
            memcpy(name, text + mark, size - mark - 3);
            if (!strpbrk(name, "\"\\{}")) {
                call_mark(e, c->line->index, name, now);
                return;
            }
        }
    }
    if (size == (int)strlen(c->clear_text) && !memcmp(text, c->clear_text, size)) {
        call_clear(e, c->line->index, now); /* here and now, for what follows it is already read */
        return;
    }
    tell(e, COLD_TEXT, c->line->index, text, size);
}

void take_text(engine *e, conn *from, char *text, int size, double now) {
    if (from->call) {
        from_gateway(e, from->call, text, size, now);
    } else if (from->party && begins(text, size, APPEND, APPEND_CHARS) && !memcmp(text + size - 2, "\"}", 2)) {
        voice_arrived(e, from->party, text + APPEND_CHARS, size - APPEND_CHARS - 2, now);
    } else {
        tell(e, COLD_TEXT, from->index, text, size);
    }
}

/* --- a call's life */

/* The caller's stream on an open connection; `sequence` numbers have been used already. It speaks from now on. */
void call_begin(engine *e, int line, uint32_t call_number, const char *stream_sid, uint32_t sequence, int slot) {
    call *c = calloc(1, sizeof(call));
    c->line = e->conns[line];
    c->line->call = c;
    c->number = call_number;
    c->sequence = sequence;
    c->slot = slot % SLOTS;
    snprintf(c->stream_sid, sizeof c->stream_sid, "%s", stream_sid);
    snprintf(c->media_head, sizeof c->media_head,
             "{\"event\":\"media\",\"streamSid\":\"%s\",\"media\":{\"payload\":\"", c->stream_sid);
    snprintf(c->mark_head, sizeof c->mark_head, "{\"event\":\"mark\",\"streamSid\":\"%s\",\"mark\":{\"name\":\"",
             c->stream_sid);
    snprintf(c->clear_text, sizeof c->clear_text, "{\"event\":\"clear\",\"streamSid\":\"%s\"}", c->stream_sid);
    c->next = e->slots[c->slot];
    e->slots[c->slot] = c;
}

void leave_slot(engine *e, call *c) {
    call **at = &e->slots[c->slot];
    while (*at && *at != c) at = &(*at)->next;
    if (*at) *at = c->next;
}

/* A message with a number of its own, such as a key or `stop`: `body` is what stands beside it. */
void call_say(engine *e, int line, const char *body) { numbered(e, e->conns[line]->call, body); }

void call_attach(engine *e, int line, int model) { e->conns[model]->party = e->conns[line]->call; }
