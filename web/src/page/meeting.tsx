import { useState } from "preact/hooks";
import type { LocalMedia } from "../mesh/local-media.ts";
import type { MeshView } from "../mesh/mesh.ts";
import { Controls } from "./controls.tsx";
import { fitTiles } from "./fit.ts";
import { useHeadingFocus, useSize, useSource } from "./hooks.ts";
import { CopyButton } from "./parts.tsx";
import { linkOf } from "./place.ts";
import { MediaAdvice } from "./prejoin.tsx";
import type { Session } from "./session.ts";
import { texts } from "./texts.ts";
import { Tile, type TileProps } from "./tile.tsx";

interface MeetingProps {
  session: Session;
  local: LocalMedia;
  leave(): void;
}

const gap = 10;

export function Meeting({ session, local, leave }: MeetingProps) {
  useSource(session.mesh);
  useSource(local);
  const heading = useHeadingFocus();
  const view = session.mesh.view();
  const tiles = tilesOf(view, local, session.name);
  const screens = tiles.filter(({ kind }) => kind === "screen");
  const cameras = tiles.filter(({ kind }) => kind === "camera");
  const free = view.role === "host" || !view.policy;
  const alone = view.peers.length === 0 && screens.length === 0;
  const link = linkOf(session.key);
  return (
    <div class="meeting" data-testid="meeting" data-status={view.status}>
      <header>
        <h1 ref={heading} tabIndex={-1} dir="auto">
          {view.meetingName || texts.untitled}
        </h1>
        <p data-testid="people">{texts.people(view.peers.length + 1)}</p>
      </header>
      <p class="banner" role="status" data-testid="banner">
        {view.status === "reconnecting" ? texts.reconnecting : ""}
      </p>
      <MediaAdvice local={local} />
      <main class={alone ? "with-invitation" : screens.length > 0 ? "with-stage" : ""}>
        {alone && (
          <div class="invitation">
            <p>{texts.alone}</p>
            <CopyButton class="secondary" value={link}>
              {texts.copyLink}
            </CopyButton>
          </div>
        )}
        {screens.length > 0 && <Grid label={texts.share} tiles={screens} stage />}
        <Grid label={texts.participants} tiles={cameras} />
      </main>
      <Controls
        local={local}
        link={link}
        maySpeak={free || (view.policy?.speak ?? true)}
        mayShow={free || (view.policy?.camera ?? true)}
        leave={leave}
      />
    </div>
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

/** Our own tile first, then the others in the order they came; a screen is a tile of its own. */
function tilesOf(view: MeshView, local: LocalMedia, ownName: string): TileProps[] {
  const own = { tracks: local.tracks(), media: local.state() };
  const everyone = [
    {
      ...own,
      peerId: view.selfId,
      name: ownName,
      self: true,
      host: view.role === "host",
      away: false,
      state: "connected" as const,
    },
    ...view.peers.map(({ info, state, tracks }) => ({
      tracks,
      media: info.media,
      peerId: info.peer_id,
      name: info.name,
      self: false,
      host: info.role === "host",
      away: info.state === "away",
      state,
    })),
  ];
  return everyone.flatMap(({ tracks, media, ...who }) => {
    const camera: TileProps = {
      ...who,
      kind: "camera",
      audio: tracks.audio,
      video: tracks.camera,
      audioOn: media.audio,
      videoOn: media.video,
    };
    const screen: TileProps = {
      ...who,
      kind: "screen",
      audio: null,
      video: tracks.screen,
      audioOn: false,
      videoOn: tracks.screen !== null,
    };
    return media.screen ? [camera, screen] : [camera];
  });
}
