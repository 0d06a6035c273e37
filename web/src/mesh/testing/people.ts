import type { JoinAck, PeerInfo } from "../protocol.ts";

export const person = (peer_id: string): PeerInfo => ({
  peer_id,
  user_id: `user ${peer_id}`,
  name: `name ${peer_id}`,
  role: "guest",
  state: "online",
  verified: false,
  protocol: 2,
  media: { audio: true, video: true, screen: false, hand: null },
  fingerprint: "",
});

export const joinAck = (
  peer_id: string,
  rev: number,
  peers: PeerInfo[],
  rest: Partial<JoinAck> = {},
): JoinAck => ({
  peer_id,
  rev,
  peers,
  role: "guest",
  resume_token: `token ${rev}`,
  resume_ttl_ms: 30_000,
  resumed: false,
  meeting: {
    name: "a meeting",
    policy: {
      camera: true,
      speak: true,
      rename: true,
      chat: true,
      locked: false,
      lobby: false,
      takeover: false,
      max_peers: 8,
    },
    password: false,
    attendance: false,
    retention_s: 0,
    spotlight: null,
  },
  past_peer_ids: [],
  ice_servers: [],
  ice_ttl_s: 0,
  ...rest,
});
