import { expect, test } from "vitest";
import { createApi } from "./api.ts";

function answering(status: number, body: unknown) {
  const asked: { url: string; init: RequestInit | undefined }[] = [];
  const api = createApi("https://example.org/meet/", async (url, init) => {
    asked.push({ url: String(url), init });
    return new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
  });
  return { api, asked };
}

test("requests go below the base path, with the key coded", async () => {
  const { api, asked } = answering(200, { meeting_id: "王/1", name: "", participants: 2 });
  expect(await api.meeting("王/1")).toEqual({ meeting_id: "王/1", name: "", participants: 2 });
  expect(asked[0]?.url).toBe("https://example.org/meet/api/v1/meetings/%E7%8E%8B%2F1");
  expect(api.leaveUrl).toBe("https://example.org/meet/api/v1/leave");
});

test("what is not wanted of a new meeting is not asked for", async () => {
  const { api, asked } = answering(201, {
    meeting_id: "k",
    name: "",
    host_key: "hk_1",
    join_url: "https://x/m/k",
  });
  await api.createMeeting("");
  await api.createMeeting("Weekly", 86_400);
  expect(asked.map(({ init }) => init?.body)).toEqual(["{}", '{"name":"Weekly","retention_s":86400}']);
});

test("a refusal keeps its code", async () => {
  const { api } = answering(404, { ok: false, code: "meeting_not_found", message: "no" });
  await expect(api.meeting("x")).rejects.toMatchObject({ code: "meeting_not_found" });
});

test("a sign-in page in the server's place is no answer", async () => {
  const { api } = answering(200, "<html>Please sign in</html>");
  await expect(api.meeting("x")).rejects.toMatchObject({ code: "intercepted" });
  await expect(answering(511, "<html>").api.meeting("x")).rejects.toMatchObject({ code: "intercepted" });
});

test("a creation whose answer was lost is the same when it is asked for again, also by another press", async () => {
  const keys: (string | null)[] = [];
  let up = false;
  const api = createApi("https://example.org/", async (_, init) => {
    keys.push(new Headers(init?.headers).get("Idempotency-Key"));
    if (!up) throw new TypeError("failed to fetch");
    return Response.json({ meeting_id: "k", host_key: "hk" }, { status: 201 });
  });
  await expect(api.createMeeting("Weekly")).rejects.toMatchObject({ code: "unreachable" });
  up = true;
  await api.createMeeting("Weekly");
  expect(keys.length).toBe(3);
  expect(new Set(keys).size).toBe(1);
  await api.createMeeting("Weekly"); // that one was answered
  expect(new Set(keys).size).toBe(2);
});

test("a proxy's error page is not an answer of ours", async () => {
  const { api } = answering(502, "<html>bad gateway</html>");
  await expect(api.createMeeting("")).rejects.toMatchObject({ code: "unreachable" });
});

test("an answer that breaks the contract is not believed", async () => {
  const { api } = answering(201, { meeting_id: 7 });
  await expect(api.createMeeting("x")).rejects.toMatchObject({ code: "malformed" });
});

test("no network is unreachable", async () => {
  const api = createApi("https://example.org/", async () => {
    throw new TypeError("fetch failed");
  });
  await expect(api.meeting("x")).rejects.toMatchObject({ code: "unreachable" });
});

test("the resume token travels in a header", async () => {
  const { api, asked } = answering(200, { ice_servers: [], ice_ttl_s: 60 });
  await api.ice("rt_secret");
  expect(new Headers(asked[0]?.init?.headers).get("authorization")).toBe("Bearer rt_secret");
  expect(asked[0]?.url).not.toContain("secret");
});
