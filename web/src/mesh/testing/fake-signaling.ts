import { localError } from "../errors.ts";
import { createEvents } from "../events.ts";
import type {
  ChatDone,
  ChatPage,
  ChatRequest,
  Control,
  InviteDone,
  JoinAck,
  JoinRequest,
  MediaState,
  Moderate,
  PairReport,
  Roster,
  SignalOut,
  Welcome,
} from "../protocol.ts";
import type { Signaling, SignalingEvents } from "../signaling.ts";

export const welcome: Welcome = {
  protocol: 2,
  server: "test",
  epoch: "1",
  features: ["chat"],
  limits: { sdp: 32768, candidate: 2048, batch: 32, peers: 8, chat: 4096, meta: 1024 },
};

/** A server of one's own: tests say what each request is answered with, and see what was sent. */
export function fakeSignaling() {
  const events = createEvents<SignalingEvents>();
  const joins: JoinRequest[] = [];
  const syncs: number[] = [];
  const signals: SignalOut[] = [];
  const media: MediaState[] = [];
  const chats: ChatRequest[] = [];
  const chatSyncs: number[] = [];
  /** What was said of calls, as words. */
  const calls: string[] = [];
  const rulings: (Control | Moderate)[] = [];
  const reports: PairReport[][] = [];
  const state = {
    ready: false,
    closed: false,
    dropped: false,
    left: 0,
    checks: 0,
    parted: 0,
    features: welcome.features,
  };
  const answers = {
    join: (_: JoinRequest): JoinAck | Error => localError("timeout", "no answer was prepared"),
    sync: (_: number): Roster | Error => localError("timeout", "no answer was prepared"),
    signal: (_: SignalOut): Error | undefined => undefined,
    chat: (_: ChatRequest): ChatDone | Error => localError("timeout", "no answer was prepared"),
    invite: async (_: string): Promise<InviteDone> => ({ call_id: "n/1", expires_in_ms: 60_000 }),
    chatSync: (after: number, _own: boolean): ChatPage | Error => ({
      messages: [],
      updates: [],
      last_delivery_id: after,
      more: false,
    }),
  };
  const must = () => {
    if (!state.ready) throw localError("disconnected", "not connected");
  };
  const give = <T>(answer: T | Error): T => {
    if (answer instanceof Error) throw answer;
    return answer;
  };

  const signaling: Signaling = {
    on: events.on,
    ready: () => state.ready,
    holds() {},
    check() {
      state.checks++;
    },
    knows: (feature) => state.features.includes(feature),
    async join(request) {
      must();
      joins.push(request);
      return give(answers.join(request));
    },
    async sync(haveRev) {
      must();
      syncs.push(haveRev);
      await Promise.resolve();
      return give(answers.sync(haveRev));
    },
    async signal(message) {
      must();
      const refused = answers.signal(message);
      if (refused) throw refused;
      signals.push(message);
    },
    async mediaState(next) {
      must();
      media.push(next);
    },
    async rename() {
      must();
    },
    async chat(request) {
      must();
      chats.push(request);
      await Promise.resolve();
      return give(answers.chat(request));
    },
    async chatSync(after, own = false) {
      must();
      chatSyncs.push(after);
      await Promise.resolve();
      return give(answers.chatSync(after, own));
    },
    async chatRevoke() {
      must();
    },
    async typing() {
      must();
    },
    async meshReport(pairs) {
      must();
      reports.push(pairs);
    },
    async control(change) {
      must();
      rulings.push(change);
    },
    async moderate(request) {
      must();
      rulings.push(request);
    },
    async invite(sub) {
      must();
      calls.push(`invite ${sub}`);
      return answers.invite(sub);
    },
    async inviteAnswer(callId, answer) {
      must();
      calls.push(`${answer} ${callId}`);
    },
    async inviteCancel(callId) {
      must();
      calls.push(`cancel ${callId}`);
    },
    async leave(mayReturn = false) {
      must();
      if (mayReturn) state.parted++;
      else state.left++;
    },
    close() {
      state.closed = true;
      state.ready = false;
    },
    drop() {
      state.dropped = true;
      state.ready = false;
    },
  };

  return {
    signaling,
    emit: events.emit,
    joins,
    syncs,
    signals,
    media,
    chats,
    chatSyncs,
    calls,
    rulings,
    reports,
    state,
    answers,
    up() {
      state.ready = true;
      events.emit("ready", welcome);
    },
    down() {
      state.ready = false;
      events.emit("lost", { final: false, since: Date.now() });
    },
  };
}
