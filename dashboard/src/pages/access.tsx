// Who may call, and who did what: tokens and the audit.

import { useState } from "preact/hooks";
import { ApiError, call, post, v1, withQuery } from "../api";
import { instant } from "../format";
import { usePoll } from "../parts/poll";
import { Act, Ago, Code, Empty, FilterField, Grid, Loaded, Panel, Tag, Until } from "../parts/show";
import { Modal, act, ask } from "../parts/talk";
import type { AuditEntry, Token } from "../types";

const DAY_MS = 86_400_000;

export function Access() {
  return (
    <>
      <h1>Access</h1>
      <Tokens />
      <Audit />
    </>
  );
}

function Tokens() {
  const tokens = usePoll<{ tokens: Token[] }>("/v1/tokens", 10_000);
  const [making, setMaking] = useState(false);
  const revoke = async (token: Token) => {
    const yes = await ask({
      title: `Revoke ${token.name}?`,
      body: <p>It is no good from this moment, on connections that are open as well.</p>,
      yes: "Revoke it",
      danger: true,
    });
    if (yes && (await act(() => call("DELETE", v1("tokens", token.id)), `${token.name} is revoked`))) tokens.reload();
  };
  return (
    <Panel
      title="Tokens"
      aside={
        <button type="button" onClick={() => setMaking(true)}>
          New token…
        </button>
      }
    >
      {making && <Make onClose={() => setMaking(false)} onDone={tokens.reload} />}
      <Loaded of={tokens}>
        {({ tokens: all }) =>
          all.length ? (
            <Grid
              label="Tokens"
              head={
                <>
                  <th>name</th>
                  <th>scopes</th>
                  <th class="n">made</th>
                  <th class="n">last used</th>
                  <th class="n">expires</th>
                  <th>change</th>
                </>
              }
            >
              {all.map((token) => (
                <tr key={token.id}>
                  <td title={token.id}>
                    <b>{token.name}</b>
                  </td>
                  <td class="wrap">
                    {token.scopes.map((scope) => (
                      <Tag key={scope}>{scope}</Tag>
                    ))}
                  </td>
                  <td class="n">
                    <Ago at={token.created_at} />
                  </td>
                  <td class="n">{token.last_used_at === null ? <i>never</i> : <Ago at={token.last_used_at} />}</td>
                  <td class="n">{token.expires_at === null ? <i>never</i> : <Until at={token.expires_at} />}</td>
                  <td>
                    <Act class="danger" aria-label={`Revoke ${token.name}`} onAct={() => revoke(token)}>
                      Revoke…
                    </Act>
                  </td>
                </tr>
              ))}
            </Grid>
          ) : (
            <Empty>There are no tokens: whoever reaches this server may do everything.</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Make({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState("read");
  const [days, setDays] = useState("90");
  const [made, setMade] = useState("");
  const [wrong, setWrong] = useState("");
  const make = async (event: Event) => {
    event.preventDefault();
    const body = {
      name,
      scopes: scopes.split(/[\s,]+/).filter(Boolean),
      ...(days && { expires_in_ms: Math.round(Number(days) * DAY_MS) }),
    };
    try {
      setMade((await post<{ token: string }>("/v1/tokens", body)).token);
      onDone();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setWrong(error.message);
    }
  };
  if (made)
    return (
      <Modal title={`The token of ${name}`} onClose={onClose}>
        <p>It is shown this one time; the server keeps a hash of it.</p>
        <Code text={made} label="Token" />
        <div class="actions">
          <button type="button" class="primary" onClick={onClose}>
            I have kept it
          </button>
        </div>
      </Modal>
    );
  return (
    <Modal title="New token" onClose={onClose}>
      <form onSubmit={make}>
        <label class="field">
          Name
          <input required value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label class="field">
          Scopes, as in produce:orders.* read
          <input required value={scopes} onInput={(event) => setScopes(event.currentTarget.value)} />
        </label>
        <label class="field">
          Days until it expires (empty: never)
          <input inputMode="numeric" value={days} onInput={(event) => setDays(event.currentTarget.value)} />
        </label>
        {wrong && (
          <p class="failure" role="alert">
            {wrong}
          </p>
        )}
        <div class="actions">
          <button type="button" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" class="primary">
            Make it
          </button>
        </div>
      </form>
    </Modal>
  );
}

function Audit() {
  const [who, setWho] = useState("");
  const [command, setCommand] = useState("");
  const [cursors, setCursors] = useState<string[]>([]);
  const path = withQuery("/v1/audit", { limit: 100, who, command, cursor: cursors.at(-1) });
  const audit = usePoll<{ entries: AuditEntry[]; cursor: string | null }>(path, 5_000);
  return (
    <Panel
      title="Audit"
      aside={
        <div class="bar filters">
          <FilterField label="who" size={12} value={who} onCommit={(who) => (setWho(who), setCursors([]))} />
          <FilterField label="command" size={14} value={command} onCommit={(what) => (setCommand(what), setCursors([]))} />
          <button disabled={!cursors.length} onClick={() => setCursors(cursors.slice(0, -1))}>
            Newer
          </button>
          <button disabled={!audit.data?.cursor} onClick={() => setCursors([...cursors, audit.data!.cursor!])}>
            Older
          </button>
        </div>
      }
    >
      <Loaded of={audit}>
        {({ entries }) =>
          entries.length ? (
            <Grid
              label="Audit"
              head={
                <>
                  <th>at</th>
                  <th>who</th>
                  <th>from</th>
                  <th>command</th>
                  <th>target</th>
                  <th>outcome</th>
                  <th>what</th>
                </>
              }
            >
              {entries.map((entry, index) => (
                <tr key={`${entry.at} ${index}`}>
                  <td>{instant(entry.at)}</td>
                  <td title={entry.who.id}>{entry.who.name}</td>
                  <td>{entry.address || "socket"}</td>
                  <td>{entry.command}</td>
                  <td>{entry.target || <i>–</i>}</td>
                  <td>
                    <Outcome status={entry.status} code={entry.code} />
                  </td>
                  <td class="text">{JSON.stringify(entry.what)}</td>
                </tr>
              ))}
            </Grid>
          ) : (
            <Empty>Nothing was changed or refused.</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Outcome({ status, code }: { status: number | null; code: string | null }) {
  if (status === null) return <Tag tone="warn">not known</Tag>;
  return status < 400 ? <Tag tone="good">✓ {status}</Tag> : <Tag tone="bad">✖ {`${status} ${code ?? ""}`}</Tag>;
}
