//! Every default and every cap, in one place, with their relations asserted when the crate is compiled.
//! It holds numbers only; what a setting is called stands in `model/settings.rs`.

/// Bytes in a kibibyte, as sizes are printed.
pub const KIB: u64 = 1024;
/// Bytes in a mebibyte.
pub const MIB: u64 = 1024 * KIB;

/// The mock port.
pub const MOCK_PORT: u16 = 4280;
/// The admin port.
pub const ADMIN_PORT: u16 = 4290;

/// Connections on the mock port at once; the kernel's limits may lower it.
pub const MAX_CONNECTIONS: u64 = 10_000;
/// Connections on the admin port at once.
pub const ADMIN_CONNECTIONS: u64 = 256;
/// Connections over the cap that are being told so; further ones are dropped without a word.
pub const MAX_REFUSED: usize = 1024;
/// Bytes of a request head.
pub const MAX_HEAD_BYTES: u64 = 64 * KIB;
/// Header fields of a head.
pub const MAX_HEADERS: usize = 4096;
/// Milliseconds for a head to arrive, from its first byte.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;
/// Microseconds after a request within which the end of the client's sending half came with it, as `nc -N` sends it. Later it is
/// the end of the client: who cancels a call closes its connection. Of an event stream that has begun it is the end of the client at
/// once: one that has read an event and closed looks the same, and is not to be waited for until the next.
pub const HALF_CLOSE_US: u64 = 50_000;
/// Milliseconds that a keep-alive connection may wait for its next request's first byte.
pub const IDLE_TIMEOUT_MS: u64 = 60_000;
/// Milliseconds for an upstream to accept a connection and, for a WebSocket, to answer the handshake.
pub const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Bytes of a WebSocket message, all fragments together.
pub const MAX_MESSAGE_BYTES: u64 = 64 * MIB;
/// Bytes of a request's body that mockd reads itself, or passes on to the admin port's calls, which make up for a millisecond of silence.
pub const MIN_BODY_BYTES_PER_MS: u64 = 1;
/// Bytes of a request body that is short: it is forwarded by the thread that goes on to wait for the response.
pub const SHORT_BODY_BYTES: u64 = 64 * KIB;
/// Milliseconds that the rest of a short body may be behind its head; later it is waited for beside the response.
pub const SHORT_BODY_WAIT_MS: u64 = 20;
/// Bytes of one event of an event stream.
pub const MAX_EVENT_BYTES: u64 = 64 * MIB;
/// Bytes of a request body that a recording keeps.
pub const MAX_REQUEST_BODY_BYTES: u64 = 8 * MIB;
/// Bytes at the front of a request body in which mocks look for what it contains.
pub const MAX_MATCHED_BODY_BYTES: usize = 8 * MIB as usize;
/// Milliseconds that a client of a replay, a mock or the admin port, or a side of a relay whose other side has gone, may take no byte.
pub const STALL_TIMEOUT_MS: u64 = 60_000;
/// Client messages that wait in a session.
pub const MAX_QUEUED_MESSAGES: u64 = 1_000;
/// Bytes of the client messages that wait in a session; one alone may have more.
pub const MAX_QUEUED_BYTES: u64 = 16 * MIB;
/// Pings and pongs of a client that a session has not heard yet.
pub const MAX_QUEUED_CONTROLS: u64 = 1_000;
/// Replay sessions that wait for a client.
pub const MAX_PENDING_REPLAYS: u64 = 1_000;
/// Ended replay sessions whose status is kept.
pub const MAX_ENDED_REPLAYS: usize = 1_000;
/// Client messages that a replay session keeps for `GET /replay/{id}/messages`.
pub const MAX_KEPT_MESSAGES: usize = 10_000;
/// Bytes of client messages that a replay session keeps for `GET /replay/{id}/messages`.
pub const MAX_KEPT_MESSAGE_BYTES: usize = 8 * MIB as usize;
/// Bytes of client messages that all ended replay sessions keep together; the oldest lose theirs first.
pub const MAX_ENDED_MESSAGE_BYTES: usize = 64 * MIB as usize;

/// Milliseconds that any time limit may be set to: a month.
pub const MAX_TIME_MS: u64 = 31 * 86_400_000;
/// Bytes of a config file: a large recording that was converted must load.
pub const MAX_CONFIG_BYTES: u64 = 512 * MIB;
/// Bytes that the aliases of a YAML file may add to it.
pub const MAX_YAML_ALIAS_BYTES: usize = 8 * MIB as usize;
/// Brackets that a YAML file may have open at once: the levels that its parser, and that of JSON, go down.
pub const MAX_FLOW_DEPTH: usize = 128;
/// Bytes of the reason in a close frame (RFC 6455 §5.5: 125 bytes, two of them the code).
pub const MAX_CLOSE_REASON_BYTES: usize = 123;
/// Bytes of an answer that a command takes from a server.
pub const MAX_ANSWER_BYTES: usize = 64 * MIB as usize;

/// Bytes of a JSON call on the admin port.
pub const MAX_API_BODY_BYTES: u64 = MIB;
/// Bytes of all files of the store.
pub const MAX_STORE_BYTES: u64 = 524_288_000;
/// Per cent of `maxBytes` at which a warning is given.
pub const WARN_PERCENT: u64 = 80;
/// Bytes that must be free, of the quota (a tenth of a smaller one) and on the disk, for a recording to begin.
pub const ROOM_TO_BEGIN_BYTES: u64 = 4 * KIB;
/// Bytes of a recording that passed and are not yet written; past it the recording ends.
pub const MAX_TAPE_BYTES: usize = 64 * MIB as usize;
/// Bytes that all recordings together have in memory: what is not written, messages and events whose end is still to come, and those that
/// wait to begin. Past it a recording ends, or does not begin. A store of the default size takes no more than this, however long a disk
/// has hung.
pub const MAX_TAPES_BYTES: usize = 512 * MIB as usize;
/// Bytes that a recording which waits to begin counts for, besides its tape and its request's body.
pub const WAITING_TAKE_BYTES: usize = 16 * KIB as usize;
/// Milliseconds between two rounds of the recorder.
pub const RECORDER_TICK_MS: u64 = 5;
/// Bytes of disk that a journal keeps free behind its frames, so that its tail finds room on a disk that is full.
pub const TAIL_ROOM_BYTES: u64 = 4 * KIB;
/// Bytes of disk that a journal takes at a time.
pub const JOURNAL_GROWTH_BYTES: u64 = 16 * KIB;
/// Bytes of lines that a journal is handed at once, so that a burst does not stand whole in memory a second time.
pub const JOURNAL_PIECE_BYTES: usize = 256 * KIB as usize;
/// Milliseconds between two attempts to finish recordings that a disk in trouble did not take.
pub const FINISH_AGAIN_MS: u64 = 1_000;
/// Recordings that wait for their next attempt; those past it are left to the next start.
pub const MAX_UNFINISHED: usize = 1_000;
/// Milliseconds that a journal may lag behind the traffic.
pub const JOURNAL_LAG_MS: u64 = 50;
/// Milliseconds that the thread which measures the directory rests at most between two looks.
pub const MEASURE_REST_MS: u64 = 250;
/// Milliseconds that a server which serves already waits, before it says so, for the recordings that a crash left behind.
pub const RECOVERY_PATIENCE_MS: u64 = 500;
/// Files that are looked at for whether there are any.
pub const GLANCED_FILES: usize = 500;
/// Threads that finish recordings at once.
pub const MAX_FINISHERS: usize = 16;
/// Threads that recover recordings at once. Each has a line in memory, which is larger than the largest message, while a server serves already.
pub const MAX_RECOVERERS: usize = 4;
/// Milliseconds that who changes recordings waits for its turn among all processes.
pub const DIR_LOCK_MS: u64 = 30_000;
/// Milliseconds that a server in the background waits for its turn to write its pid file.
pub const RUN_LOCK_MS: u64 = 3_000;

/// Milliseconds that a synchronized or triggered replay waits.
pub const REPLAY_TIMEOUT_MS: u64 = 30_000;
/// Pairs of lines that are compared for a difference in lines; larger texts are shown one after the other.
pub const MAX_DIFF_CELLS: usize = 4_000_000;
/// Failed replays of a `play` run that are told one by one, and paths that nothing was there for.
pub const MAX_FAULTS: usize = 20;
/// Milliseconds that an `expect` of a mock's scenario waits.
pub const EXPECT_TIMEOUT_MS: u64 = 30_000;
/// Milliseconds between two pings of a mock.
pub const HEARTBEAT_INTERVAL_MS: u64 = 30_000;
/// Milliseconds within which a mock's ping must be answered.
pub const HEARTBEAT_TIMEOUT_MS: u64 = 10_000;
/// Milliseconds before each chunk of a mock's chat completion.
pub const TOKEN_DELAY_MS: u64 = 50;
/// Bytes of `expected` and `actual` in an error of a replay.
pub const MAX_ERROR_TEXT_BYTES: usize = 4 * KIB as usize;
/// Bytes that a replay hands to one write, so that it hears its inbox between two.
pub const MAX_WRITE_BYTES: usize = 256 * KIB as usize;
/// Nesting of a JSON text that is compared, correlated or asked by a JSONPath; what recurses over it fits a connection's stack.
pub const MAX_JSON_DEPTH: usize = 64;
/// Values in a JSON text that is compared, correlated or asked by a JSONPath.
pub const MAX_JSON_NODES: usize = 1_000_000;
/// Steps of the paths to all values together in such a text: a JSONPath with `..` has them all in memory, a few words each.
pub const MAX_JSON_STEPS: usize = 8_000_000;
/// Bytes of a JSONPath in an option or setting.
pub const MAX_JSON_PATH_BYTES: usize = KIB as usize;
/// Brackets and parentheses that are open at once in a JSONPath; its parser recurses, and must fit a connection's stack.
pub const MAX_JSON_PATH_DEPTH: usize = 4;
/// Times that `..` stands in a JSONPath: each finds every value once for every value above it.
pub const MAX_JSON_PATH_DESCENTS: usize = 2;
/// Milliseconds below which a conversion that simplifies its timing makes a delay 0.
pub const SIMPLE_MIN_DELAY_MS: u64 = 10;
/// Milliseconds to which a conversion that simplifies its timing cuts a delay.
pub const SIMPLE_MAX_DELAY_MS: u64 = 5_000;
/// Microseconds by which the wall clock may have moved against the monotonic one, and still tell when bytes came.
pub const CLOCK_STEADY_US: u64 = 1_000;
/// Milliseconds for a peer to take the close frame that ends its stream, and to close.
pub const CLOSE_GRACE_MS: u64 = 1_000;
/// Milliseconds within which a server that was told to end has ended.
pub const SHUTDOWN_MS: u64 = 5_000;
/// Milliseconds of these for the files of recordings.
pub const FINISH_MS: u64 = 3_500;
/// Milliseconds for a server in the background to answer on both ports.
pub const START_TIMEOUT_MS: u64 = 10_000;
/// Logs of servers in the background that have ended which are kept.
pub const MAX_OLD_LOGS: usize = 10;
/// Bytes of the log of a server in the background; past it the older half goes.
pub const MAX_LOG_BYTES: u64 = 16 * MIB;
/// Bytes of the log that are written at once: what a pipe takes whole or not at all (PIPE_BUF).
pub const LOG_PIECE_BYTES: usize = 4 * KIB as usize;
/// Milliseconds that a line of the log waits for somebody to take it.
pub const LOG_PATIENCE_MS: u64 = 1_000;
/// Milliseconds that `stop` waits for a server in the background to end.
pub const STOP_TIMEOUT_MS: u64 = 15_000;
/// Milliseconds for the recordings of a one-shot command to reach the disk.
pub const SAVE_TIMEOUT_MS: u64 = 60_000;
/// Milliseconds between two looks at something that says nothing by itself: a file of another process, a counter.
pub const LOOK_AGAIN_MS: u64 = 10;
/// Bytes of the pid file of a server in the background, and of a ready file.
pub const MAX_RUN_FILE_BYTES: u64 = 64 * KIB;
/// Bytes at the end of a log that are looked at for its last words.
pub const LAST_WORDS_BYTES: u64 = 8 * KIB;

/// Bytes that one read takes from a socket.
pub const READ_BYTES: usize = 16 * KIB as usize;
/// Bytes that one read takes from a socket on which much comes at once. Below 128 KiB, where the C library would ask the system for memory
/// each time, and the system would count it among its maps.
pub const LARGE_READ_BYTES: usize = 64 * KIB as usize;
/// Milliseconds of silence after which a connection gives back its room for large reads.
pub const QUIET_MS: u64 = 1_000;
/// Bytes of stack of a thread: JSON of 128 levels is parsed and dropped on it, which takes some 400 KiB in a debug build.
/// Only what is touched becomes resident.
pub const STACK_BYTES: usize = 512 * KIB as usize;
/// Length of the accept queue of a port.
pub const BACKLOG: i32 = 4096;

/// Characters that an id prefix needs.
pub const MIN_ID_PREFIX: usize = 6;
/// Ids that a message names of those which a prefix fits.
pub const MAX_NAMED_IDS: usize = 10;
/// Characters of an id in a table, or as many as make it unique.
pub const TABLE_ID_CHARS: usize = 12;

const _: () = assert!(RECORDER_TICK_MS * 4 <= JOURNAL_LAG_MS, "the recorder must meet its own promise");
const _: () = assert!(MAX_TAPE_BYTES as u64 >= MAX_MESSAGE_BYTES, "one message of the largest size must fit on a tape");
const _: () = assert!(MAX_TAPES_BYTES >= MAX_TAPE_BYTES, "one tape must fit");
const _: () = assert!(CLOSE_GRACE_MS < SHUTDOWN_MS, "closing streams must fit into the time of a shutdown");
const _: () = assert!(MIN_ID_PREFIX <= TABLE_ID_CHARS, "ids as printed must be usable as prefixes");
const _: () = assert!(FINISH_MS + CLOSE_GRACE_MS < SHUTDOWN_MS, "streams that were closed need their moment after the last file");
const _: () = assert!(RECOVERY_PATIENCE_MS + FINISH_MS < SHUTDOWN_MS, "who ends a server that is about to be ready has time to");
const _: () = assert!(STOP_TIMEOUT_MS > SHUTDOWN_MS, "who waits for a server's end waits longer than that takes");
const _: () = assert!(RUN_LOCK_MS * 2 <= START_TIMEOUT_MS, "a server that waits in vain for its turn says so before it is given up");
const _: () = assert!(WARN_PERCENT <= 100);
