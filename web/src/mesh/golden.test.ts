import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  type PairReport,
  parseAck,
  parseChat,
  parseChatDone,
  parseChatPage,
  parseChatUpdate,
  parseClosed,
  parseCreatedMeeting,
  parseDecided,
  parseDraining,
  parseErrorReply,
  parseIce,
  parseInvite,
  parseInviteDone,
  parseInviteState,
  parseJoinAck,
  parseLobby,
  parseMeetingInfo,
  parseMeshAdvice,
  parseMeshMatrix,
  parseModerated,
  parseRoomState,
  parseRoster,
  parseRosterDelta,
  parseSignal,
  parseTyping,
  parseWelcome,
} from "./protocol.ts";

/** The messages that the server's tests write and read: both sides are held to the same bytes. */
const folder = new URL("../../../internal/protocol/testdata/", import.meta.url);
const load = (name: string): unknown => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));

const forUs: Record<string, (value: unknown) => unknown> = {
  welcome: parseWelcome,
  welcome_token: parseWelcome,
  join_ack_v2: parseJoinAck,
  update_participants_v2: parseRosterDelta,
  roster: parseRoster,
  closed: parseClosed,
  room_state: parseRoomState,
  moderated: parseModerated,
  lobby: parseLobby,
  admitted: parseDecided,
  denied: parseDecided,
  ack_waiting: parseAck,
  server_draining: parseDraining,
  signal_offer_out: parseSignal,
  signal_answer_out: parseSignal,
  signal_candidates_out: parseSignal,
  signal_renegotiate_out: parseSignal,
  signal_bye_out: parseSignal,
  chat_out: parseChat,
  chat_update: parseChatUpdate,
  typing_out: parseTyping,
  ack_chat: parseChatDone,
  ack_chat_sync: parseChatPage,
  mesh_advice: parseMeshAdvice,
  mesh_matrix: parseMeshMatrix,
  invite_out: parseInvite,
  ack_invite: parseInviteDone,
  invite_update: parseInviteState,
  invite_handled: parseInviteState,
  ack_ok: parseAck,
  ack_queued: parseAck,
  ack_heartbeat: parseAck,
  ack_error: parseAck,
  ack_error_internal: parseAck,
  http_error: parseErrorReply,
  meeting_created: parseCreatedMeeting,
  meeting_info: parseMeetingInfo,
  ice: parseIce,
};

/** From clients to the server, of protocol 1, or for callers without acks. */
const notForUs =
  /^(join_v1|join_v2|join_ticket|join_past|join_fresh|control|control_undo|moderate|moderate_admit|attendees|join_response_.*|error_event|update_participants_v1|signal_.*_in|update_signal|sync|media_state|rename|leave|leave_may_return|leave_http|leave_http_may_return|leave_http_lobby|heartbeat|invite_in|invite_answer|invite_cancel|chat_in|chat_sync|chat_revoke|typing_in|mesh_report)$/;

const files = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => name.slice(0, -5));

test.each(Object.entries(forUs))("golden %s is understood", (name, parse) => {
  expect(() => parse(load(name))).not.toThrow();
});

test("every golden message is either for us or known not to be", () => {
  expect(files.filter((name) => !(name in forUs) && !notForUs.test(name))).toEqual([]);
});

test("what a golden message says arrives", () => {
  const sent = load("update_participants_v2") as { since: number; rev: number; joined: { name: string }[] };
  const read = parseRosterDelta(sent);
  expect([read.since, read.rev]).toEqual([sent.since, sent.rev]);
  expect(read.joined.map(({ name }) => name)).toEqual(sent.joined.map(({ name }) => name));
});

test("what the golden messages of a host's doings say arrives", () => {
  for (const name of ["room_state", "moderated", "lobby", "admitted"]) {
    expect(forUs[name]?.(load(name))).toEqual(load(name));
  }
  const ack = parseJoinAck(load("join_ack_v2"));
  expect(ack.meeting).toEqual((load("join_ack_v2") as { meeting: unknown }).meeting);
  expect(ack.admission_token).toMatch(/^at_/);
  expect(ack.past_peer_ids).toHaveLength(1);
  const roster = parseRoster(load("roster"));
  expect([roster.self?.name, roster.meeting?.spotlight]).toEqual(["王 <b>", null]);
  expect(roster.peers.map(({ protocol }) => protocol)).toEqual([2, 1]);
  expect(parseErrorReply(load("ack_waiting"))).toMatchObject({
    code: "waiting",
    ticket: expect.stringMatching(/^w_.+\..+$/),
  });
});

/** What our messages must hold for the server to take them: it reads these very ones. */
test("our own offers and candidates have the shape of the golden ones", () => {
  const offer: Record<string, unknown> = { to: "", neg: "", kind: "offer", sdp: "", restart: false };
  const candidates: Record<string, unknown> = { to: "", neg: "", kind: "candidates", list: [], end: false };
  expect(Object.keys(load("signal_offer_in") as object)).toEqual(expect.arrayContaining(Object.keys(offer)));
  expect(Object.keys(load("signal_candidates_in") as object)).toEqual(
    expect.arrayContaining(Object.keys(candidates).filter((key) => key !== "end")),
  );
});

test("our own reports have the fields of the golden one", () => {
  const pair: PairReport = { peer_id: "p", state: "connected", hears: true, relayed: false, poor: false };
  const { pairs } = load("mesh_report") as { pairs: object[] };
  expect(Object.keys(pairs[0] ?? {})).toEqual(Object.keys(pair));
});

test("who hears whom arrives in words", () => {
  expect(parseMeshAdvice(load("mesh_advice"))).toEqual(load("mesh_advice"));
  const golden = load("mesh_matrix") as { members: string[]; broken: { tried?: string }[] };
  const matrix = parseMeshMatrix(golden);
  expect(matrix.members).toEqual(golden.members);
  expect(matrix.rows).toEqual([
    ["self", "hears", "nothing"],
    ["relayed", "self", "unknown"],
    ["poorly", "connecting", "self"],
  ]);
  expect(matrix.broken.map(({ tried }) => tried)).toEqual(["restart", null]);
  expect(() => parseMeshMatrix({ ...golden, rows: ["-+", "+-"] })).toThrow("mesh_matrix.rows");
});

test("a chat message arrives as it was sent", () => {
  const { meeting_id, ...sent } = load("chat_out") as Record<string, unknown>;
  expect(parseChat(load("chat_out"))).toEqual({ ...sent, meeting_id, revoked: false });
  const page = parseChatPage(load("ack_chat_sync"));
  expect(page.messages.map(({ delivery_id, revoked }) => [delivery_id, revoked])).toEqual([
    [57, false],
    [59, true],
  ]);
  expect([page.updates[0]?.delivery_id, page.last_delivery_id, page.more]).toEqual([58, 59, false]);
});
