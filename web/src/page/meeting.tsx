import { useEffect, useState } from "preact/hooks";
import type { Api } from "../mesh/api.ts";
import { fileOf } from "../mesh/files.ts";
import type { LocalMedia } from "../mesh/local-media.ts";
import type { MeshView } from "../mesh/mesh.ts";
import { Chat, isThere, mayChat } from "./chat.tsx";
import { Controls, canShare, type PanelName } from "./controls.tsx";
import { useLoudness } from "./devices.tsx";
import { DropTarget } from "./file-drop.tsx";
import { safeName } from "./file-names.ts";
import { fitTiles } from "./fit.ts";
import { useHeadingFocus, useLasting, useSize, useSource } from "./hooks.ts";
import { notices } from "./live.ts";
import { CopyButton } from "./parts.tsx";
import { People } from "./people.tsx";
import { linkOf } from "./place.ts";
import { MediaAdvice } from "./prejoin.tsx";
import type { Session } from "./session.ts";
import { Help, Settings } from "./settings.tsx";
import { useShortcuts } from "./shortcuts.ts";
import { sound } from "./sound.ts";
import { sentence, texts } from "./texts.ts";
import { Tile, type TileProps } from "./tile.tsx";

interface MeetingProps {
  api: Api;
  session: Session;
  local: LocalMedia;
  leave(): void;
}

const gap = 10;

export function Meeting({ api, session, local, leave }: MeetingProps) {
  useSource(session.mesh);
  useSource(local);
  useSource(session.conversation);
  const heading = useHeadingFocus();
  const [panel, setPanel] = useState<PanelName | "">("");
  const [pinned, setPinned] = useState("");
  const [to, setTo] = useState("");
  const speaking = useOwnVoice(local);
  useEffect(
    () =>
      session.conversation.on("heard", ({ name, text, meta }) => {
        const file = fileOf(meta);
        if (file) notices.say(texts.files.offers(name, safeName(file.name)));
        else if (session.conversation.unread() > 0) notices.say(texts.heard(name, text.slice(0, 120)));
      }),
    [session],
  );
  const toggle = (name: PanelName) => setPanel((now) => (now === name ? "" : name));
  const close = () => setPanel("");

  const view = session.mesh.view();
  const free = view.role !== "guest" || !view.policy;
  const maySpeak = free || (view.policy?.speak ?? true);
  const mayShow = free || (view.policy?.camera ?? true);
  useShortcuts(shortcutsOf(local, { maySpeak, mayShow }, toggle, close));

  function offer(files: File[]): void {
    setPanel("chat"); // where it is seen what becomes of them
    if (!mayChat(view)) notices.say(texts.chatOff);
    else if (!isThere(view, to)) notices.say(texts.files.nobodyThere);
    else void session.sharing.offer(files, to);
  }

  const tiles = tilesOf(view, local, speaking);
  const many = tiles.length > 1;
  const drawn = tiles.map((tile) => {
    const id = `${tile.peerId} ${tile.kind}`;
    return {
      ...tile,
      pinned: many && pinned === id,
      shown: (height: number) => {
        if (!tile.self) session.show(tile.peerId, tile.kind, height);
      },
      ...(many ? { pin: () => setPinned(pinned === id ? "" : id) } : {}),
    };
  });
  const chosen = drawn.filter((tile) => tile.pinned);
  // What one pins oneself comes before what the host shows to everyone.
  const spotlight = drawn.filter(
    ({ peerId, kind }) => peerId === view.meeting?.spotlight && kind === "camera",
  );
  const screens = drawn.filter(({ kind }) => kind === "screen");
  const stage = [chosen, many ? spotlight : [], screens].find((tiles) => tiles.length > 0) ?? [];
  const rest = drawn.filter((tile) => !stage.includes(tile));
  const alone = view.peers.length === 0 && stage.length === 0;
  const link = linkOf(session.key);
  return (
    <div
      class={panel === "" ? "meeting" : "meeting with-panel"}
      data-testid="meeting"
      data-status={view.status}
    >
      <header>
        <h1 ref={heading} tabIndex={-1} dir="auto">
          {view.meetingName || texts.untitled}
        </h1>
        <p data-testid="people">{texts.people(view.peers.length + 1)}</p>
      </header>
      <p class="banner" role="status" data-testid="banner">
        {view.status === "reconnecting" &&
          `${texts.reconnecting}${view.refusal === "" ? "" : ` ${sentence(view.refusal)}`}`}
      </p>
      <DropTarget
        to={view.peers.find(({ info }) => info.peer_id === to)?.info.name ?? texts.files.allHere}
        allowed={mayChat(view)}
        take={offer}
      />
      <SoundGate />
      <MediaAdvice local={local} />
      <DevicesComing local={local} />
      <div class="middle">
        <main class={alone ? "with-invitation" : stage.length > 0 ? "with-stage" : ""}>
          {alone && (
            <div class="invitation">
              <p>{texts.alone}</p>
              <CopyButton class="secondary" value={link}>
                {texts.copyLink}
              </CopyButton>
            </div>
          )}
          {stage.length > 0 && <Grid label={texts.share} tiles={stage} stage />}
          <Grid label={texts.participants} tiles={rest} />
        </main>
        {panel === "chat" && <Chat session={session} view={view} to={to} setTo={setTo} close={close} />}
        {panel === "people" && (
          <People api={api} session={session} view={view} media={local.state()} link={link} close={close} />
        )}
        {panel === "settings" && <Settings local={local} close={close} />}
        {panel === "help" && <Help close={close} />}
      </div>
      <Controls
        local={local}
        maySpeak={maySpeak}
        mayShow={mayShow}
        panel={panel}
        waiting={view.waiting.length}
        unread={session.conversation.unread()}
        toggle={toggle}
        leave={leave}
      />
    </div>
  );
}

/** Some browsers play no sound before a press on the page. */
function SoundGate() {
  useSource(sound);
  if (!sound.blocked()) return null;
  return (
    <p class="banner row" role="alert" data-testid="sound-gate">
      {texts.soundBlocked}
      <button type="button" class="secondary small" onClick={sound.unblock}>
        {texts.hearNow}
      </button>
    </p>
  );
}

/** Most come at once. What takes longer waits for the user, whose browser asks in a corner of its own. */
function DevicesComing({ local }: { local: LocalMedia }) {
  const slow = useLasting(local.busy(), 1_500);
  return (
    <p class="advice calm" role="status" data-testid="devices-coming">
      {slow ? texts.asking : ""}
    </p>
  );
}

function Grid({ label, tiles, stage = false }: { label: string; tiles: TileProps[]; stage?: boolean }) {
  const [space, setSpace] = useState({ width: 0, height: 0 });
  const list = useSize((width, height) => setSpace({ width, height }));
  const size = fitTiles(tiles.length, space.width, space.height, gap);
  return (
    <ul
      ref={list}
      class={stage ? "grid stage" : "grid"}
      aria-label={label}
      style={{ "--tile-width": `${size.width}px`, "--tile-height": `${size.height}px` }}
    >
      {tiles.map((tile) => (
        <Tile key={`${tile.peerId} ${tile.kind}`} {...tile} />
      ))}
    </ul>
  );
}

/** Whether we are heard, shown as it is shown of the others. */
function useOwnVoice(local: LocalMedia): boolean {
  const [until, setUntil] = useState(0);
  const on = local.state().audio;
  useLoudness(on ? local.tracks().audio : null, (level) => {
    const now = performance.now();
    if (level > 0.03 && until < now + 500) setUntil(now + 900);
    else if (until !== 0 && until < now) setUntil(0);
  });
  return on && until > 0;
}

/** What keys do. What they did is said, for who does not see it. */
function shortcutsOf(
  local: LocalMedia,
  may: { maySpeak: boolean; mayShow: boolean },
  toggle: (panel: PanelName) => void,
  close: () => void,
) {
  const say = (what: keyof typeof texts.nowOn, on: boolean) =>
    notices.say((on ? texts.nowOn : texts.nowOff)[what]);
  return {
    m: () =>
      may.maySpeak && void local.setAudio(!local.wish().audio).then(() => say("mic", local.wish().audio)),
    v: () =>
      may.mayShow &&
      void local.setCamera(!local.wish().camera).then(() => say("camera", local.wish().camera)),
    s: () =>
      may.mayShow &&
      canShare &&
      void local.setScreen(!local.state().screen).then(() => say("screen", local.state().screen)),
    h: () => local.setHand(local.state().hand === null),
    c: () => toggle("chat"),
    p: () => toggle("people"),
    "?": () => toggle("help"),
    Escape: close,
  };
}

type Drawn = Omit<TileProps, "pinned" | "pin" | "shown">;

/** Our own tile first, then the others in the order they came; a screen is a tile of its own. */
function tilesOf(view: MeshView, local: LocalMedia, speaking: boolean): Drawn[] {
  const media = local.state();
  const everyone = [
    {
      tracks: local.tracks(),
      // The server's time, as soon as it has said it: it is what the others order by.
      media: { ...media, hand: media.hand === null ? null : (view.hand ?? media.hand) },
      peerId: view.selfId,
      name: view.name,
      self: true,
      host: view.role !== "guest",
      away: false,
      state: "connected" as const,
      speaking,
      quality: "unknown" as const,
    },
    ...view.peers.map(({ info, state, tracks, speaking, quality }) => ({
      tracks,
      media: info.media,
      peerId: info.peer_id,
      name: info.name,
      self: false,
      host: info.role !== "guest",
      away: info.state === "away",
      state,
      speaking,
      quality: quality.level,
    })),
  ];
  const hands = everyone.flatMap(({ media }) => media.hand ?? []).sort((a, b) => a - b);
  return everyone.flatMap(({ tracks, media, ...who }) => {
    const camera: Drawn = {
      ...who,
      kind: "camera",
      audio: tracks.audio,
      video: tracks.camera,
      audioOn: media.audio,
      videoOn: media.video,
      hand: media.hand === null ? 0 : hands.indexOf(media.hand) + 1,
    };
    const screen: Drawn = {
      ...who,
      kind: "screen",
      audio: null,
      video: tracks.screen,
      audioOn: false,
      videoOn: tracks.screen !== null,
      hand: 0,
    };
    return media.screen ? [camera, screen] : [camera];
  });
}
