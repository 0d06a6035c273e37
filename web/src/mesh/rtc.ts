/** What a Peer needs of the browser. Tests put fakes in its place. */
export type Rtc = Pick<
  RTCPeerConnection,
  | "signalingState"
  | "connectionState"
  | "onnegotiationneeded"
  | "onicecandidate"
  | "onconnectionstatechange"
  | "localDescription"
  | "addTransceiver"
  | "getTransceivers"
  | "setLocalDescription"
  | "setRemoteDescription"
  | "addIceCandidate"
  | "restartIce"
  | "setConfiguration"
  | "getStats"
  | "close"
>;

export interface RtcEnvironment {
  connection(configuration: RTCConfiguration): Rtc;
  /** An empty stream. Its id is what makes receivers play microphone and camera in step. */
  stream(): MediaStream;
}

export const browserRtc: RtcEnvironment = {
  connection: (configuration) => new RTCPeerConnection(configuration),
  stream: () => new MediaStream(),
};
