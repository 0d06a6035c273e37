import { fingerprintsIn } from "./trust.ts";

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
  | "createDataChannel"
  | "ondatachannel"
  | "setLocalDescription"
  | "setRemoteDescription"
  | "addIceCandidate"
  | "restartIce"
  | "setConfiguration"
  | "getStats"
  | "close"
>;

/** What all connections of a participant have in common. */
export interface Identity {
  certificate: RTCCertificate;
  /** As in SDP: the name of the digest, a space, bytes in hex. */
  fingerprint: string;
}

export interface RtcEnvironment {
  /** A new one; null where the browser makes none. */
  identity(): Promise<Identity | null>;
  connection(configuration: RTCConfiguration): Rtc;
  /** An empty stream. Its id is what makes receivers play microphone and camera in step. */
  stream(): MediaStream;
}

export const browserRtc: RtcEnvironment = {
  async identity() {
    const algorithm = { name: "ECDSA", namedCurve: "P-256" } as AlgorithmIdentifier;
    const certificate = await RTCPeerConnection.generateCertificate(algorithm);
    // Not every browser has getFingerprints; each writes the fingerprint into its offers.
    const probe = new RTCPeerConnection({ certificates: [certificate] });
    try {
      probe.createDataChannel("probe");
      const { sdp = "" } = await probe.createOffer();
      const [fingerprint] = fingerprintsIn(sdp);
      return fingerprint === undefined ? null : { certificate, fingerprint };
    } finally {
      probe.close();
    }
  },
  connection: (configuration) => new RTCPeerConnection(configuration),
  stream: () => new MediaStream(),
};
