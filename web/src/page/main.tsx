import { render } from "preact";
import { App } from "./app.tsx";
import "./css/base.css";
import "./css/lobby.css";
import "./css/meeting.css";
import { language } from "./texts.ts";

document.documentElement.lang = language;

const root = document.getElementById("app");
if (root) render(<App />, root);
