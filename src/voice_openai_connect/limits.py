"""Every number that bounds something, each with its reason. Times are milliseconds unless the name says otherwise."""

from typing import Final

# --- Audio. µ-law at 8 kHz is 8 bytes a millisecond; Twilio sends and plays it in 20 ms frames.
BYTES_PER_MS: Final = 8
"""One byte a sample, eight samples a millisecond."""
FRAME_BYTES: Final = 160
"""Twilio sends frames of 20 ms; whole ones are sent back, so that no mark falls inside a frame."""
ULAW_SILENCE: Final = 0xFF
"""What the tail of an item is padded with: µ-law zero. 0x00 would be a click at full scale."""

MARK_INTERVAL_MS: Final = 200
"""How often played audio is acknowledged. Shorter costs messages; between two marks the clock counts, and
`MARK_OVERDUE_MS` bounds how far it is believed."""
UNSURE_MARK_INTERVAL_MS: Final = 20
"""While the line may run dry, as after silence, every frame gets its own mark: until one returns, nothing new counts as
heard. Fewer would be cheaper, and would tell the model up to half of the first 200 ms less than was heard."""
PLAYOUT_MARGIN_MS: Final = 200
"""With less than this unheard, the next audio may come after the line ran dry, so `heard` waits for a mark."""
MARK_OVERDUE_MS: Final = 250
"""How far `heard` may run past a mark that has not come back: a stalled line must not be believed for long."""
MARKS_GONE_MS: Final = 3_000
"""A mark this overdue does not come, for a lost packet is sent again within two seconds. Then the clock counts."""
MARKS_OUT: Final = 1_000
"""Marks that are waited for at once; `UNHEARD_AUDIO_MS` has 300 of them. The oldest are forgotten first."""
HOLD_AFTER_MS: Final = 2_200
"""Silence outside the caller's own turn before the holding sound. Four seconds are promised; a dial needs the rest."""
HOLD_AFTER_BREAK_MS: Final = 500
"""The same on a stream that takes a call up again: its caller had been listening to nothing before it opened."""
HOLD_MS: Final = 1_800
"""One round of the holding sound, its own pause included."""
HOLD_TOTAL_MS: Final = 72_000
"""Of rounds in a row; more than a minute of it would be a fault of ours, and every deadline ends sooner."""
HOLD_SOUND_MIN_MS: Final = 500
"""A recording that is shorter is a buzz when it is repeated without a gap."""
HOLD_SOUND_MAX_MS: Final = 20_000
"""Nobody waits for longer; one round is sent at once and must fit well into `UNHEARD_AUDIO_MS`."""
HOLD_PAUSE_MS: Final = 1_800
"""In a recording. With `HOLD_AFTER_MS` it is what a caller can hear of silence: four seconds."""
HOLD_LOUDEST_DB: Final = 12
"""Below full scale, in the loudest tenth of a second of a recording. Speech on a telephone lies at about 20."""
HOLD_SOFTEST_DB: Final = 45
"""Below full scale; beneath it a telephone's own noise is all that is heard."""
HOLD_AIM_DB: Final = 26
"""Below full scale: what a recording is told to be brought to, a little softer than speech."""
HOLD_FILE_BYTES: Final = 4_000_000
"""`HOLD_SOUND_MAX_MS` at 48 kHz in stereo are 3,840,000 bytes."""
FORMAT_TELLS_MS: Final = 50
"""Of a session's first audio, before its bytes are asked whether they are µ-law. Fewer say too little."""
FORMAT_CERTAIN_MS: Final = 600
"""After so much of it the question is settled; a greeting may begin with some silence, which tells nothing."""
FORMAT_PAIRS: Final = 400
"""At most so many neighbours of either kind are compared, and no fewer than half as many of a long piece: other calls
wait meanwhile. More tell no more; of 200 at most, five of 555 pieces of a voice were taken for PCM."""
UNHEARD_AUDIO_MS: Final = 60_000
"""No reply is longer. Sockets swallow minutes of audio before they push back, so seconds are counted, not bytes."""
CALLER_AUDIO_HELD_MS: Final = 2_000
"""Kept while the model connects, oldest dropped: older speech would be answered too late to make sense."""

# --- Talking
MODEL_READY_MS: Final = 5_000
"""From stream start to a configured model, all tries included. After it the caller is taken to a person."""
MODEL_CONNECT_MS: Final = 3_000
"""One try at the model's socket and its first event."""
MODEL_SILENT_MS: Final = 6_000
"""After the caller's turn, without a sound or a sign from the model: it is taken for lost."""
RECOVERIES: Final = 1
"""A model lost a second time in one call is not trusted a third time."""
HISTORY_TURNS: Final = 40
"""Given to a model that takes over in mid-call; older turns matter little and cost tokens in every response."""
RESPONSE_RETRIES: Final = 1
"""A failed response is asked for again once; a second failure in a row takes the caller to a person."""
RESPONSE_RETRY_WAIT_MS: Final = 300
"""Long enough for a hiccup of the service to pass, too short for the caller to ask who is there."""
RESPONSE_RETRY_WAIT_MAX_MS: Final = 3_000
"""A rate limit that asks for longer than this is dead air: the caller goes to a person instead."""
SPEECH_MS: Final = 30_000
"""Hardly anybody speaks for half a minute without a pause that ends the turn. A line that sounds like it is full of
noise, or its session hears nobody any more: the model is made to say something, and a lost one does not."""
SPEECH_PROMPTS: Final = 2
"""So often without a pause, and a person takes the call: the model has asked into the noise once by then."""
TOLD_IN_TIME_MS: Final = 300
"""A round trip to the service. What the model is told shorter than this before it reports the end of the caller's turn
may reach it after it has begun to answer."""
IDLE_PROMPTS: Final = 3
"""Silent turns in a row before the call says goodbye: a parked line must not be billed for ever."""
KEYS_PAUSE_MS: Final = 1_500
"""Keys pressed with less than this between them are one number."""
KEYS_MAX: Final = 32
"""Longer than any account or card number; what is pressed beyond it is not passed on."""
TOOL_MS: Final = 15_000
"""A user's tool may take this long before the model is told that it failed."""
TOOL_CALLS: Final = 500
"""In one call; a model that asks for more has lost its way."""
TOOL_ARGUMENTS_CHARS: Final = 8_000
"""Arguments are a few words; more than this is a model that has lost its way."""
CALL_MS: Final = 55 * 60_000
"""OpenAI ends a session at 60 minutes; five before that the caller is taken to a person."""

# --- Handover
TRANSFER_SENTENCE_MS: Final = 12_000
"""From the decision to the last word of the spoken sentence. Then the caller is moved anyway, once what is being
said then has been heard."""
RESPONSE_CANCEL_MS: Final = 700
"""How long a cancelled response may take to say so before the next one is asked for regardless."""
SUMMARY_MS: Final = 1_800
"""The out-of-band summary; after this a summary is made from the turns we have."""
CRM_MS: Final = 3_000
"""What the handover waits for HubSpot, from the decision. Whatever comes later is added while the record is unread."""
TICKET_LATE_MS: Final = 25_000
"""A late ticket is waited for so long after the dial; then it is kept for later. Less than `CRM_LATE_MS`."""
CRM_LATE_MS: Final = 30_000
"""How long a late ticket is waited for after the stream has closed."""
SAVE_MS: Final = 2_500
"""Storing the token record, retries and redrawn tokens included. Then the caller is moved without it."""
RECORD_MS: Final = 5_000
"""From the decision until the record is stored or given up. Where HubSpot has taken all of `CRM_MS`, less than
`SAVE_MS` is left: a caller does not wait longer because two services hang instead of one."""
GOODBYE_MS: Final = 10_000
"""From the decision to the goodbye. Then the line is closed anyway, once what is being said has been heard."""
SUMMARY_CHARS: Final = 1_500
"""Connect allows 32 KiB for all attributes of a contact together; an agent reads far less than that."""
REASON_CHARS: Final = 300
"""One or two sentences for the agent's screen; they go into the ticket as well."""
MESSAGE_CHARS: Final = 1_500
"""What a caller leaves for a call back, in the model's words: a minute of talk."""
NOTE_CHARS: Final = 2_000
"""A message for a call back, and what led to it: a minute of reading on a ticket."""
TOKEN_DIGITS: Final = 10
"""Ten billion tokens of which a handful are live: guessing one is hopeless. About two seconds of tones."""
DIGITS_STEP_MS: Final = 500
"""What a `w` stands for in Twilio's `sendDigits`."""
DIGITS_AFTER_MS: Final = 2_000
"""From the contact centre's answer to the first tone: Connect drops what comes before its flow listens."""
DIGITS_AFTER_MOST_MS: Final = 10_000
"""With the digits these are 31 characters of the 32 that `sendDigits` is known to take; and the caller waits."""
TOKEN_TTL_S: Final = 600
"""The caller is dialled within seconds; ten minutes covers a queue of retries and clock skew."""
TOKEN_DRAWS: Final = 5
"""Tries at a free token. With so few live ones even the second is hardly ever needed."""
DIAL_ATTEMPTS: Final = 2
"""One dial with the token, one without. A third would be a loop."""
DIAL_SECONDS: Final = 30
"""How long the contact centre may ring. It answers by itself at once, unless it is in trouble."""
DIAL_TOO_SHORT_S: Final = 5
"""A dial that completes sooner was not a conversation: it is treated as failed."""
DIAL_SUSPICIOUS_S: Final = 15
"""A conversation that is over sooner is counted as suspicious: the contact centre's line may have dropped it."""
MESSAGE_MS: Final = 4_000
"""Keeping a caller's message, which is one write to a table. Then the model has to say that it could not be kept."""

# --- Twilio's side
REQUEST_HEAD_BYTES: Final = 16_384
"""Of a request, all but its body. Twilio's are one or two kilobytes, and what stands in front of us adds less."""
WEBHOOK_BODY_BYTES: Final = 32_768
"""Twilio's voice posts are a few kilobytes; larger ones are refused before they are parsed."""
WEBHOOK_FIELDS: Final = 100
"""Twilio posts about thirty, and adds some over the years."""
TWILIO_MESSAGE_BYTES: Final = 65_536
"""A media frame is about 400 bytes; the server's own default would be 16 MiB."""
WEBHOOK_CONNECT_MS: Final = 1_000
"""Twilio's time to reach us for what is next; its own 5 s would be dead air."""
WEBHOOK_READ_MS: Final = 4_000
"""Twilio's time to wait for what is next; its own 15 s would be dead air. Ours wait for a store, 0.7 s at most."""
WEBHOOK_RETRIES: Final = 3
"""Of a question that got no answer: by then a balancer has noticed that a process is gone. Twilio allows 5."""
CALL_RETRIES: Final = 2
"""How often Twilio may ask again about a call that comes in: three tries of `WEBHOOK_CONNECT_MS` and `WEBHOOK_READ_MS`
fit into the 15 s that it takes for a webhook in all."""
STREAM_START_MS: Final = 5_000
"""From an accepted socket to its `start` message: idle sockets are not held for anyone."""
STREAM_TICKET_S: Final = 60
"""Twilio opens the socket within a second of reading the TwiML; a minute covers its retries and clock skew."""
STREAM_PARAMETER_CHARS: Final = 500
"""Twilio takes less than this for the name and the value of one stream parameter together."""
TWIML_CHARS: Final = 4_000
"""Twilio's limit for a TwiML document handed over through its REST API; ours all stay below it."""
SPOKEN_SENTENCE_CHARS: Final = 1_000
"""Of XML, for one sentence in TwiML: two of them and the dial still fit into one document."""
STREAM_SILENT_MS: Final = 10_000
"""Twilio sends a frame every 20 ms. After this much nothing, the line is dead even if no close came."""
STREAM_SILENT_LOOKS: Final = 5
"""In that time it is looked so often whether anything has come: a note of the time with every frame costs more."""
BAD_MESSAGES_MAX: Final = 100
"""Undecodable messages on one media socket before it is closed as hostile."""
STREAM_MESSAGES_PER_S: Final = 150
"""Fifty frames, and with a model no faster than speech as many marks, and half as much again; one socket that sends
more for long takes time from all the others."""
STREAM_MESSAGES_BURST: Final = 600
"""At once, after the line or this process has stalled: frames and marks of the ten seconds of `STREAM_SILENT_MS`, so
that a pause which a line survives costs it nothing afterwards."""
STREAM_MESSAGES_TOGETHER: Final = 50
"""So many are let through or not at once: their rate is looked at once a second of talk, not fifty times."""
COLLECTED_AT: Final = 10_000
"""New objects at which Python's collector looks for cycles: a few megabytes at the most. At its own 700 it would look
through all that belongs to 200 calls every ten seconds, 60 ms in which every one of them waits."""
TIMERS_SWEPT_AT: Final = 1_000
"""Entries from which on cancelled timers are swept out once they are the greater part: fewer cost next to nothing."""
OUTBOX_BYTES: Final = 2_097_152
"""Waiting in this process for a peer that does not read; beyond it the peer counts as gone. `UNHEARD_AUDIO_MS` are less
than a megabyte in base64 with their marks, so that no reply can fill it on a line that is read."""
BACKLOG_NOTICED_BYTES: Final = 65_536
"""Waiting, beyond what the system holds: a peer that reads never lets it come to this."""
SEND_STALLED_S: Final = 5.0
"""So long a backlog may stand before the peer counts as gone: its caller has been hearing nothing for longer."""
SOCKET_BUFFER_BYTES: Final = 2_048
"""What a socket reads into at first; it grows with what comes, and frames of a call are 300 bytes."""
MAX_CALLS: Final = 100
"""On one process, until `MAX_CALLS` says otherwise."""
CALLS_PER_SECOND: Final = 10.0
"""New ones on one process, until `MAX_CALLS_PER_SECOND` says otherwise. Each takes some 10 ms of setting up, in which
the calls on the line wait: a tenth of a core at the most."""
CALLS_BURST_S: Final = 2.0
"""So many seconds' worth of new calls may come at once: people do not ring evenly."""
LAG_LOOK_MS: Final = 100
"""How often the event loop's lateness is measured."""
LAG_SHARE: Final = 0.3
"""Of the newest look in the smoothed lag: a single stall counts from two thirds of a second on."""
LAG_BUSY_MS: Final = 200
"""Of smoothed lag: a frame lasts 20 ms, so ten of each caller's wait by now, and one more call makes it worse."""
LAG_CALM_MS: Final = 50
"""Of smoothed lag, below which the process has room again. Well below `LAG_BUSY_MS`, so that it does not flutter."""
LAG_CALM_FOR_MS: Final = 1_000
"""How long it has to be calm before the next call: the one before has only then shown what it costs."""
DESCRIPTORS_A_CALL: Final = 4
"""The caller's socket, the model's (two while one takes over), and a connection to a service or a recording."""
DESCRIPTORS_RESERVED: Final = 64
"""For webhooks, of calls that are on the line above all, and for calls just admitted that have opened nothing yet."""
DESCRIPTORS_MAX: Final = 65_536
"""More than any process carries calls for."""

# --- The model's side
MODEL_MESSAGE_BYTES: Final = 1_048_576
"""A second of audio is 11 KB in base64; a piece of reply is never near this."""
MODEL_BAD_MESSAGES: Final = 10
"""Undecodable messages before the model's socket counts as lost."""
MODEL_MESSAGES_HELD: Final = 64
"""Messages read from the socket ahead of the call; beyond it the socket is not read, so the model has to wait."""
MODEL_PING_S: Final = 3.0
"""How long the model's socket may be quiet until it is asked whether it is alive, and how long it may take to say so.
Together `MODEL_SILENT_MS`: while the caller speaks, nothing else would tell that nobody hears them."""
MODEL_NEXT_ADDRESS_S: Final = 0.25
"""What an address of the model has to answer before the next one is tried beside it (RFC 8305, section 5). One that is
silent would otherwise take all of `MODEL_CONNECT_MS`."""
MODEL_CLOSE_S: Final = 1.0
"""For the closing handshake; the caller is not waiting for it, but a call's tasks must be gone within a second."""
SUMMARY_TOKENS: Final = 800
"""A summary of `SUMMARY_CHARS` is about 400 tokens; a reasoning model spends some of its own first."""
UNKNOWN_NAMES: Final = 32
"""Names of message types we do not know that are counted apart; they become metric labels."""

MODEL_FAILURES: Final = 3
"""Sessions in a row that did not come about before the model counts as down. A caller's two tries are not enough."""
MODEL_FAILURES_WITHIN_S: Final = 30.0
"""Older failures say nothing about now."""
PROBE_FIRST_S: Final = 5.0
"""From the model's failure to the first try without a caller: most outages of a moment are over by then."""
PROBE_LAST_S: Final = 60.0
"""The longest pause between two tries, each pause being twice the one before: who mends it does not wait for long."""

# --- Other services, in seconds because their clients want seconds
DYNAMODB_CONNECT_S: Final = 1.0
"""In the same region a connection takes milliseconds; a second means that it will not come."""
DYNAMODB_READ_S: Final = 1.5
"""Ordinary answers take ten milliseconds. Less than `SAVE_MS`, so that a second try begins in time."""
DYNAMODB_ATTEMPTS: Final = 2
"""A third would not fit into `SAVE_MS`."""
DYNAMODB_AGAIN_S: Final = 0.1
"""The longest pause before the second: what made DynamoDB busy is mostly over by then. It is drawn by lot, so that
those who were sent away together do not come back together."""
DYNAMODB_CONNECTIONS: Final = 50
"""A call uses one for two short moments, so this serves many more calls than one process takes."""
CALL_ITEM_TTL_S: Final = 4 * 3_600
"""Twilio ends a call after four hours at the latest; nobody asks about it later."""
ENDED_CALL_TTL_S: Final = 48 * 3_600
"""How long it is known how a call ended: for a look back at two whole days."""
DYNAMODB_CLASH_TRIES: Final = 4
"""At a transaction that clashes with somebody else's; each of them is over in milliseconds."""
DYNAMODB_CLASH_WAIT_S: Final = 0.05
"""Before the second try; longer before each that follows."""
DYNAMODB_LEFT_OUT_WAIT_S: Final = 0.05
"""Before what DynamoDB left out of a request, for want of capacity, is asked for once more; it wants a pause there."""
AWS_KEYS_AGAIN_S: Final = 30
"""Between two tries to renew a role's credentials that are still valid. botocore begins fifteen minutes before they
expire, so some thirty may fail."""
TOKENS_REMEMBERED: Final = 1_000
"""Handovers of this process whose token is known, so that a repeated save is the same save."""
HUBSPOT_CONNECT_S: Final = 1.0
"""A second without a connection means that it will not come."""
HUBSPOT_READ_S: Final = 2.0
"""Ordinary answers take a few hundred milliseconds; searches are the slow ones."""
HUBSPOT_ATTEMPTS: Final = 3
"""Two more after the first: a rate limit passes within a second or two."""
HUBSPOT_TOTAL_S: Final = 20.0
"""All tries of one CRM request, also those after the caller has been moved."""
HUBSPOT_SEARCHES_PER_S: Final = 2.0
"""HubSpot allows 5 a second for a whole account; other integrations need their share."""
HUBSPOT_BODY_BYTES: Final = 1_048_576
"""Of an answer. Ours ask for few records and few properties; more than a megabyte is not for us."""
HUBSPOT_CONTACT_ROUNDS: Final = 2
"""Read, search, write; a clash means somebody else was quicker, and one more round finds what they made."""
HUBSPOT_CONTENT_CHARS: Final = 4_000
"""HubSpot takes 65,536; nobody reads that while a caller waits."""
HUBSPOT_SUBJECT_CHARS: Final = 200
"""What a list of tickets shows of it, and some more."""
HUBSPOT_TEXT_CHARS: Final = 65_536
"""HubSpot's own bound on a text; a note that would make a ticket's longer is not written into it."""
HUBSPOT_TICKET_ROUNDS: Final = 2
"""Read, then write; a clash means that somebody else has just made the ticket, and one more round finds it."""
TWILIO_REST_S: Final = 3.0
"""One request. Twilio's answers take a few hundred milliseconds."""
TWILIO_REST_ATTEMPTS: Final = 3
"""Two more after the first, for a rate limit or a hiccup."""
TWILIO_REST_BODY_BYTES: Final = 1_048_576
"""Of an answer; the ones we read are some kilobytes."""
TWILIO_TWIML_CHARS: Final = 4_000
"""Twilio's own bound on TwiML sent in a request."""
SHUTDOWN_S: Final = 30
"""For calls to end by themselves, and as much again for the rest to be handed over: longer than any handover."""

PAUSE_DOUBLINGS: Final = 10
"""Of a pause after failures: a thousand times the first one is beyond every longest pause, and numbers stay small."""

# --- What is remembered of a conversation
TURNS_KEPT: Final = 400
"""An hour of talk; the oldest go first."""
TURN_CHARS: Final = 4_000
"""Of one turn: four minutes of talk. What is beyond it is cut off."""
REMEMBERED_IDS: Final = 256
"""Items, responses and tool calls that must not come back to life; the oldest are long over by then."""

# --- What an operator writes
CONSOLE_TOKEN_CHARS: Final = 16
"""The shortest token that opens the operators' commands: about 96 bits when made by `openssl rand -base64 12`."""
SENTENCE_CHARS: Final = 500
"""A sentence spoken to a caller: half a minute. Twilio reads the TwiML around it up to 4,000 characters."""
INSTRUCTIONS_CHARS: Final = 20_000
"""About 5,000 tokens, sent with every response; longer ones cost more than they help."""
INTENTS_MAX: Final = 50
"""They are listed for the model in every response; nobody routes to more queues by voice."""
KEYWORDS_MAX: Final = 100
"""They help the transcription with names; a longer list helps with none."""
KEYWORD_CHARS: Final = 100
"""A name or a product, not a sentence."""
IDLE_TIMEOUT_MIN_MS: Final = 5_000
"""OpenAI's own lower bound for `idle_timeout_ms`; below it the whole session is refused."""
IDLE_TIMEOUT_MAX_MS: Final = 30_000
"""OpenAI's own upper bound; above it the whole session is refused."""
MODEL_CONNECTS: Final = 2
"""Tries at the model before a call begins, all within `MODEL_READY_MS`."""
TRANSFER_SENTENCE_TRIES: Final = 2
"""If the model fails it twice, Twilio says it."""

# --- The process
EMF_S: Final = 60.0
"""How often the metrics become lines of the log; CloudWatch counts by the minute."""
EMF_VALUES: Final = 100
"""Values of one metric in one line: CloudWatch's own bound."""
METRICS_FILE_BYTES: Final = 262_144
"""What one worker counts of one kind. With 42 values of every label the largest took 80 KB (measured)."""
LOG_LINES_WAITING: Final = 10_000
"""For whoever reads the log and has stopped: some 3 MB, or the lines of 500 calls."""
REFUSED_LINES: Final = 60
"""Lines a minute about refusals of one kind; all are counted. A stranger's forged webhooks are a line each."""
LOG_LAST_S: Final = 2.0
"""For the lines that wait when the process ends; it does not stay for a reader who never comes back."""
LOOKUP_THREADS: Final = 32
"""Threads in which libuv looks host names up; it lets half of them do so. Each of `LOOKUPS_A_NAME` holds one for ten to
thirty seconds where the name server is silent: room for four such names. Some clusters allow a pod few threads, and
libuv ends the process that cannot have its own (`src/threadpool.c`)."""
LOOKUPS_A_NAME: Final = 4
"""At a time. That so many datagrams to a name server are lost one after the other means that it is away."""
LOOKUP_AGAIN_S: Final = 0.5
"""Name servers answer within a tenth of that. `MODEL_CONNECT_MS` has room for all of them."""
REQUEST_S: Final = 10.0
"""For a whole HTTP request to arrive: Twilio's come in one piece."""
KEEP_ALIVE_S: Final = 130
"""For the next request on an idle connection. A balancer must be the first to let go of it, or it sends a request into
our close and Twilio is told 502 (AWS, "Troubleshoot your Application Load Balancers"): ours does so after 120 s."""
UNFINISHED_CONNECTIONS: Final = 500
"""On which a request is on its way; with more, the oldest are closed. Twilio's take milliseconds."""
IDLE_CONNECTIONS: Final = 100
"""With more, none is kept for longer than `REQUEST_S`. A balancer needs a few; descriptors are there for callers."""
STEP_STORE_MS: Final = 700
"""Telling the other instances what is next; the caller hears nothing meanwhile, and this instance knows anyway."""
STEPS_KEPT: Final = 10_000
"""Calls whose next step is known here; a day's worth, of which each is asked for within seconds."""
CALLER_LOST_S: Final = 30.0
"""From the end of a stream to Twilio's question, its retries included. A caller of whom nobody asked is lost."""
CLOCKS_APART_S: Final = 5.0
"""How far the clocks of two instances may differ when they tell each other when something was."""
AFTERCARE_S: Final = 5.0
"""One piece of what is done after a dial. Nobody waits for it but a process that wants to stop."""
AFTERCARE_TASKS: Final = 2_000
"""Calls that are looked after at once; every caller of a full process could leave in the same moment."""
NEXT_ASKED_S: Final = 5.0
"""From the last closed stream until Twilio has asked what is next, `ASKED_AGAIN` times if need be. A server that
stopped sooner would lose the caller."""
ASKED_AGAIN: Final = 2
"""Times that a question is put off while this instance has no room. Each costs the caller a second of silence, and
four are promised."""
ASK_AGAIN_S: Final = 1
"""Between two such questions, whole seconds because Twilio counts in them. A balancer needs about two of them to
notice that an instance is not ready."""
TARGET_ASK_S: Final = 5.0
"""Between two questions to the load balancer whether this process is to go. An account may ask 10 a second of this kind
(Elastic Load Balancing, "Request throttling"); ten tasks ask two."""
TARGET_RETRY_MAX_S: Final = 20.0
"""The longest pause after failures, each pause being twice the one before. Even a task that has been told so often that
too much is asked learns in time that it is to go."""
TARGET_REQUEST_S: Final = 5.0
"""One question, within AWS; it takes some ten milliseconds, and nobody waits for it."""
TASK_METADATA_BYTES: Final = 262_144
"""What ECS says about a task: some kilobytes for each of its containers, of which there are ten at the most."""
WORKERS_MAX: Final = 64
"""Processes of one instance. Each is asked by all the others, and more cores than this are better spread."""
WORKER_START_S: Final = 60.0
"""From a worker's birth to its first call; it takes two seconds, or some more where all of them start at once."""
WORKER_BEAT_S: Final = 1.0
"""How often a worker says that its event loop comes round."""
WORKER_BEATS_MISSED: Final = 3
"""Waits of `WORKER_SILENT_S` in a row, so that a machine that stood still itself takes nobody for dead."""
WORKER_SILENT_S: Final = 5.0
"""Without a sign of a worker. After three of them its callers have long been hearing nothing."""
WORKER_PAUSE_FIRST_S: Final = 0.5
"""Before a worker that has died is replaced; doubled with each that dies young."""
WORKER_PAUSE_MAX_S: Final = 30.0
"""Between two tries with a worker that cannot live; the others serve meanwhile."""
WORKER_OLD_S: Final = 60.0
"""A worker that dies later than this dies of something new, and is replaced as the first one was."""
SIBLING_S: Final = 0.5
"""For a worker's answer to another: it takes a millisecond, unless its event loop stands still."""
SIBLING_BYTES: Final = 4_194_304
"""Of such an answer: ten thousand calls are a megabyte and a half."""
SOCKET_CLOSE_S: Final = 1.0
"""To send what is queued, and again for the close itself. A peer that needs longer does not read."""

# --- Recordings
RECORDING_BYTES: Final = 64 * 1_048_576
"""One call's file: about three times an hour of talk. A call that writes more has lost its way."""
RECORDING_PIECE_BYTES: Final = 8_192
"""Lines that may wait are written together: about a second of a call."""
RECORDING_BYTES_WAITING: Final = 262_144
"""Of one call, while the disk hangs: some 40 s; 500 calls hold 130 MB. With more waiting it is recorded no further."""
RECORDING_LAST_S: Final = 2.0
"""For the lines that wait when the process ends; it does not stay for a disk that hangs."""
RECORDINGS_MAX: Final = 10_000
"""Files in the folder; a recorder that somebody forgot to switch off must not fill a disk for ever."""
RECORDED_LINE_BYTES: Final = 4 * 1_048_576
"""A minute of audio in one piece becomes some thousand commands; nothing else comes near."""
RECORDED_AUDIO_BYTES: Final = 2 * 1_048_576
"""The longest piece of audio that a recording may claim: more than `MODEL_MESSAGE_BYTES` can carry."""

# --- Setting up Amazon Connect
SETUP_REQUEST_S: Final = 10.0
"""One request; a list of a thousand numbers takes Connect a second or two."""
SETUP_S: Final = 60.0
"""All of them, with their repeats: somebody is waiting at a terminal."""
SETUP_NAMES: Final = 10
"""Names to choose from in a message; a longer list is not read."""

# --- Is anyone there? In seconds. Amazon Connect takes 2 requests a second of each kind, and 5 for the metrics, from
# everything that asks in an account and region together (Administrator Guide, "Service quotas").
PRESENCE_TICK_S: Final = 1.0
"""Between two questions of one process, and how late it notices that a queue has closed."""
PRESENCE_STAFFED_S: Final = 20.0
"""One request for all queues: fifty processes make half of what the metrics' quota allows."""
PRESENCE_STAFFED_BELIEVED_S: Final = 90.0
"""Four answers missed: by then somebody may well have come back from a break."""
PRESENCE_HOURS_S: Final = 600.0
"""Somebody who closes early, for a day, is believed ten minutes later."""
PRESENCE_HOURS_BELIEVED_S: Final = 3_600.0
"""Opening hours change seldom; an hour of silence is a long one."""
PRESENCE_QUEUES_S: Final = 3_600.0
"""Queues are made and renamed once in a while."""
PRESENCE_QUEUES_BELIEVED_S: Final = 4 * 3_600.0
"""An id stays what it is; without any the rest could not be asked."""
PRESENCE_RETRY_S: Final = 30.0
"""After a first failure; doubled with each that follows."""
PRESENCE_RETRY_MAX_S: Final = 600.0
"""Somebody who has just allowed what was denied should see it work before they have given up."""
PRESENCE_DAYS_BACK: Final = 2
"""Of opening hours: yesterday anywhere on earth, whose night may end today, counted from the date in Greenwich."""
PRESENCE_DAYS_AHEAD: Final = 7
"""Of opening hours: tomorrow would do; a week has an open day in it, so that an empty answer is told from holidays."""
CONNECT_API_CONNECT_S: Final = 2.0
"""A connection within AWS takes milliseconds. Nobody waits for it, so there is room for another region."""
CONNECT_API_READ_S: Final = 5.0
"""Metrics of many queues take a second or two."""
CONNECT_API_S: Final = 12.0
"""Two requests that each take as long as they may; some fewer than `PRESENCE_STAFFED_S`."""
CONNECT_API_QUEUES: Final = 100
"""Connect's own bound on the queues of one request for metrics."""
CONNECT_API_PAGE: Final = 1_000
"""Connect's own bound on a page of queues: an instance has fewer, so that one request lists them."""

# --- The doctor, in seconds
DOCTOR_S: Final = 20
"""One check, all its requests and tries included: somebody is waiting at a terminal."""
DOCTOR_HTTP_S: Final = 8.0
"""One request of a check; slower than this is an answer in itself."""
MODELS_BODY_BYTES: Final = 4_194_304
"""OpenAI's list of models is some hundred kilobytes."""

# --- Calls that outlive their stream
RESUMES: Final = 3
"""Times that a call is taken up again after its stream broke; after that something is wrong with it, or with us."""
CHECKPOINT_CHARS: Final = 12_000
"""Of turns in one checkpoint: a DynamoDB item may have 400 KB, and a write costs by the kilobyte."""
CHECKPOINTS_GATHERED_MS: Final = 300
"""How long a checkpoint waits for those of other calls, to be written with them in one request. A process that is
killed loses what waits: a turn that ended that shortly before is not known at the next instance."""
CHECKPOINTS_TOGETHER: Final = 25
"""In one request. DynamoDB takes 25 and 16 MB (API reference, `BatchWriteItem`): far from it even if every character
took six bytes in JSON."""
CHECKPOINT_MS: Final = CHECKPOINTS_GATHERED_MS + STEP_STORE_MS
"""One checkpoint, from the turn's end until it is kept. The table has as long as for a step, beside the gathering."""
CLOSE_CALL_MS: Final = STEP_STORE_MS + CHECKPOINT_MS
"""The end of a call: how it ended is written first, then its words are removed together with those of other calls."""
CHECKPOINT_TTL_S: Final = 900
"""A caller may think for a while between two turns; after a quarter of an hour nobody is on that line any more."""
STREAMS_LOOKED_BACK: Final = RESUMES + 1
"""Of a call, for the latest that got as far as a checkpoint. If so many in a row did not, something is wrong."""
MOVE_MS: Final = 9_000
"""How long a call may take to its next turn boundary when the process is to stop. Then it is moved in mid-sentence."""

# --- What is owed to the CRM, in seconds
OUTBOX_TTL_S: Final = 3 * 86_400
"""A weekend: longer than an outage of HubSpot, shorter than a customer's words may lie about undelivered."""
OUTBOX_ENTRIES: Final = 1_000
"""Conversations kept at a time, of all instances together. Beyond it something else is wrong, and is told."""
OUTBOX_SHARDS: Final = 8
"""Items that list the conversations: each stays below 5 KB, so that a change costs little and clashes are rare."""
OUTBOX_NOTES: Final = 8
"""Of one conversation; there are five kinds, each of which is made once or twice."""
OUTBOX_LEASE_S: Final = 60
"""Longer than `OUTBOX_DELIVERY_S`: when it is over, whoever leased the entry has stopped or died."""
OUTBOX_DELIVERY_S: Final = 45
"""A contact, a ticket and a note, each within its `HUBSPOT_TOTAL_S` unless all of them are slow."""
OUTBOX_FIRST_WAIT_S: Final = 5
"""Before a ticket is tried again that HubSpot has just not taken, all of its retries included."""
OUTBOX_LOOK_S: Final = 30
"""How often an instance looks for what others have left behind."""
OUTBOX_PAUSE_FIRST_S: Final = 5
"""After the first failure of HubSpot itself; doubled with each that follows."""
OUTBOX_PAUSE_MAX_S: Final = 600
"""Even after a long outage everything begins to arrive within ten minutes of its end."""
OUTBOX_DENIED_S: Final = 1_800
"""When HubSpot wants a person to do something: a key, a scope, a property, more requests a day."""
OUTBOX_REFUSED_FIRST_S: Final = 300
"""Before an entry that was refused for what it is; doubled with each refusal. Rules in an account change."""
OUTBOX_REFUSALS: Final = 5
"""Then it is given up, after an hour and a quarter: what was refused five times will not be taken."""
OUTBOX_LAST_S: Final = 5
"""For one last look before the process stops; what is not delivered then, another instance delivers."""

# --- Looking back at calls
RECONCILE_HOURS: Final = 24
"""How far the command looks back unless told otherwise: once a day is how it is meant to be run."""
RECONCILE_HOURS_MAX: Final = ENDED_CALL_TTL_S // 3_600
"""Of calls before that nothing is known any more."""
RECONCILE_GRACE_S: Final = 60
"""From the end of a call until its end must have been written down; a few seconds are enough on an ordinary day."""
CALLS_PAGE: Final = 500
"""Call records asked for at once: 500 of them are about 800 KB, and an answer may have a megabyte."""
CALLS_PAGES: Final = 200
"""A hundred thousand calls; more of them are not looked at one by one at a terminal."""
CALLS_LOOKED_UP_AT_ONCE: Final = 16
"""Questions to the table at a time, out of `DYNAMODB_CONNECTIONS`."""
