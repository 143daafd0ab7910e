// Tasks and what they depend on, in layers from left to right.

import { line } from "../format";
import { to } from "../router";
import type { StateName } from "../types";

export interface Node {
  id: string;
  name: string;
  state: StateName;
  dependsOn: string[];
}

const WIDTH = 168;
const HEIGHT = 38;
const GAP_X = 46;
const GAP_Y = 12;

/** The layer of each node: one behind the last of what it depends on. What the server takes has no cycles. */
function layers(nodes: Node[]): Node[][] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const depths = new Map<string, number>();
  const depth = (node: Node): number => {
    const known = depths.get(node.id);
    if (known !== undefined) return known;
    const parents = node.dependsOn.flatMap((id) => byId.get(id) ?? []);
    const found = parents.length ? 1 + Math.max(...parents.map(depth)) : 0;
    depths.set(node.id, found);
    return found;
  };
  const found: Node[][] = [];
  for (const node of nodes) (found[depth(node)] ??= []).push(node);
  return found;
}

export function Graph({ nodes, current, label }: { nodes: Node[]; current?: string; label: string }) {
  const columns = layers(nodes);
  const tallest = Math.max(...columns.map((column) => column.length));
  const height = tallest * (HEIGHT + GAP_Y) + GAP_Y;
  const width = columns.length * (WIDTH + GAP_X) - GAP_X + 4;
  const places = new Map<string, { x: number; y: number }>();
  columns.forEach((column, layer) =>
    column.forEach((node, row) => {
      const top = (height - column.length * (HEIGHT + GAP_Y) + GAP_Y) / 2;
      places.set(node.id, { x: 2 + layer * (WIDTH + GAP_X), y: top + row * (HEIGHT + GAP_Y) });
    }),
  );
  return (
    <div class="graph" role="region" aria-label={label} tabIndex={0}>
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height}>
        {nodes.flatMap((node) =>
          node.dependsOn.map((id) => <Edge key={`${id} ${node.id}`} from={places.get(id)} at={places.get(node.id)!} />),
        )}
        {nodes.map((node) => {
          const { x, y } = places.get(node.id)!;
          return (
            <a key={node.id} href={to("tasks", node.id)}>
              <g class={`node state ${node.state} ${node.id === current ? "current" : ""}`}>
                <rect x={x} y={y} width={WIDTH} height={HEIGHT} rx={5} />
                <text class="name" x={x + 10} y={y + 16}>
                  {line(node.name || node.id.slice(-12), 22)}
                </text>
                <text x={x + 10} y={y + 31}>
                  {node.state}
                </text>
              </g>
            </a>
          );
        })}
      </svg>
    </div>
  );
}

function Edge({ from, at }: { from: { x: number; y: number } | undefined; at: { x: number; y: number } }) {
  if (!from) return null; // it has been forgotten, or is on another page
  const x1 = from.x + WIDTH;
  const y1 = from.y + HEIGHT / 2;
  const y2 = at.y + HEIGHT / 2;
  const middle = (x1 + at.x) / 2;
  return <path class="edge" d={`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${at.x} ${y2}`} />;
}
