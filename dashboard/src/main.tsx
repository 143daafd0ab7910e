import { render } from "preact";
import { Frame } from "./frame";
import "./style.css";

render(<Frame />, document.getElementById("app")!);
