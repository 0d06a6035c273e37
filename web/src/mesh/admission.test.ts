import { expect, test, vi } from "vitest";
import { enter } from "./admission.ts";
import { localError, SignalError } from "./errors.ts";
import type { JoinRequest } from "./protocol.ts";
import { fakeSignaling } from "./testing/fake-signaling.ts";
import { joinAck } from "./testing/people.ts";

const request: JoinRequest = {
  meeting_id: "k",
  user_id: "Ada",
  name: "Ada",
  media: { audio: true, video: true },
};
const waiting = (ticket: string) => new SignalError({ code: "waiting", message: "", ticket });

function lobby(...answers: (Error | ReturnType<typeof joinAck>)[]) {
  const server = fakeSignaling();
  server.up();
  server.answers.join = () => answers.shift() ?? localError("timeout", "no answer was prepared");
  const waits: string[] = [];
  const entering = enter(server.signaling, request, (ticket) => waits.push(ticket));
  entering.catch(() => {});
  return { server, entering, waits };
}

test("who is let in joins with the ticket", async () => {
  const { server, entering, waits } = lobby(waiting("t1"), joinAck("me", 1, []));
  await vi.waitFor(() => expect(waits).toEqual(["t1"]));
  server.emit("admitted", { meeting_id: "another" });
  server.emit("admitted", { meeting_id: "k" });
  expect((await entering).peer_id).toBe("me");
  expect(server.joins.map(({ ticket }) => ticket)).toEqual([undefined, "t1"]);
});

test("who is not let in is told so", async () => {
  const { server, entering, waits } = lobby(waiting("t1"));
  await vi.waitFor(() => expect(waits).toEqual(["t1"]));
  server.emit("denied", { meeting_id: "k" });
  await expect(entering).rejects.toMatchObject({ code: "denied" });
});

test("a lost connection keeps the place: it is asked for again, by the ticket", async () => {
  const { server, entering, waits } = lobby(waiting("t1"), waiting("t2"), joinAck("me", 1, []));
  await vi.waitFor(() => expect(waits).toEqual(["t1"]));
  server.down();
  server.up();
  await vi.waitFor(() => expect(server.joins.length).toBe(2));
  server.emit("admitted", { meeting_id: "k" });
  await entering;
  expect(server.joins.map(({ ticket }) => ticket)).toEqual([undefined, "t1", "t2"]);
  expect(waits).toEqual(["t1", "t2"]);
});

test("a refusal without a lobby is one at once", async () => {
  const { entering } = lobby(new SignalError({ code: "meeting_full", message: "" }));
  await expect(entering).rejects.toMatchObject({ code: "meeting_full" });
});

test("who thinks better of it waits no longer", async () => {
  const { server, entering, waits } = lobby(waiting("t1"));
  await vi.waitFor(() => expect(waits).toEqual(["t1"]));
  server.emit("lost", { final: true, since: 0 });
  await expect(entering).rejects.toMatchObject({ code: "disconnected" });
});
