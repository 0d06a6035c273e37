import { expect, test } from "vitest";
import type { PeerInfo, RosterDelta } from "./protocol.ts";
import { createRoster } from "./roster.ts";
import { person } from "./testing/people.ts";

const delta = (since: number, rev: number, rest: Partial<RosterDelta> = {}): RosterDelta => ({
  since,
  rev,
  joined: [],
  changed: [],
  left: [],
  ...rest,
});
const names = (peers: PeerInfo[]) => peers.map((peer) => peer.peer_id);

test("deltas are applied in the order of their revisions", () => {
  const roster = createRoster("me");
  roster.replace(3, [person("a")]);
  expect(roster.apply(delta(3, 4, { joined: [person("b")] }))).toMatchObject({ joined: [{ peer_id: "b" }] });
  expect(roster.apply(delta(4, 5, { left: [{ peer_id: "a", reason: "leave" }] }))).toMatchObject({
    left: [{ peer: { peer_id: "a" }, reason: "leave" }],
  });
  expect(names(roster.all())).toEqual(["b"]);
  expect(roster.rev()).toBe(5);
});

test("an old delta changes nothing", () => {
  const roster = createRoster("me");
  roster.replace(7, [person("a")]);
  expect(roster.apply(delta(5, 7, { left: [{ peer_id: "a", reason: "leave" }] }))).toBe("old");
  expect(names(roster.all())).toEqual(["a"]);
});

test("a delta that begins after what is known is a gap, and changes nothing", () => {
  const roster = createRoster("me");
  roster.replace(3, []);
  expect(roster.apply(delta(4, 5, { joined: [person("a")] }))).toBe("gap");
  expect(roster.rev()).toBe(3);
  expect(roster.all()).toEqual([]);
});

test("a delta that overlaps what is known is applied without doubling anyone", () => {
  const roster = createRoster("me");
  roster.replace(4, [person("a")]);
  expect(roster.apply(delta(2, 6, { joined: [person("a"), person("b")] }))).toEqual({
    joined: [person("b")],
    changed: [],
    left: [],
  });
});

test("a change merges into what is known, and one of a stranger is ignored", () => {
  const roster = createRoster("me");
  roster.replace(1, [person("a")]);
  roster.apply(
    delta(1, 2, {
      changed: [
        { peer_id: "a", state: "away" },
        { peer_id: "x", name: "X" },
      ],
    }),
  );
  expect(roster.get("a")).toEqual({ ...person("a"), state: "away" });
  expect(roster.get("x")).toBeUndefined();
});

test("a full list tells what it changed", () => {
  const roster = createRoster("me");
  roster.replace(1, [person("a"), person("b")]);
  const diff = roster.replace(9, [{ ...person("b"), name: "B2" }, person("c")]);
  expect(names(diff.joined)).toEqual(["c"]);
  expect(names(diff.changed)).toEqual(["b"]);
  expect(diff.left.map(({ peer }) => peer.peer_id)).toEqual(["a"]);
});

test("a full list older than what is known is ignored", () => {
  const roster = createRoster("me");
  roster.replace(9, [person("a")]);
  expect(roster.replace(8, []).left).toEqual([]);
  expect(names(roster.all())).toEqual(["a"]);
});

test("we are never in our own roster", () => {
  const roster = createRoster("me");
  roster.replace(1, [person("me"), person("a")]);
  roster.apply(delta(1, 2, { joined: [person("me")] }));
  expect(names(roster.all())).toEqual(["a"]);
});

test("with another certificate it is another page of the same person", () => {
  const roster = createRoster("me");
  const page = (fingerprint: string) => ({ ...person("a"), fingerprint });
  roster.replace(3, [page("one"), person("b")]);
  const diff = roster.replace(6, [page("two"), person("b")]);
  expect(diff.left.map(({ peer }) => peer.fingerprint)).toEqual(["one"]);
  expect(diff.joined.map(({ fingerprint }) => fingerprint)).toEqual(["two"]);
  expect(names(roster.all())).toEqual(["b", "a"]);
});
