// @ts-check
// A kernel as a Jupyter widget manager knows it, at the end of a server's websocket: its comms and its messages, no more.

/** A signal of lumino's, as far as managers use them. */
class Signal {
  /** @type {((sender: any, value: any) => void)[]} */
  slots = [];

  /** @param {(sender: any, value: any) => void} slot @param {any} [self] */
  connect(slot, self) {
    this.slots.push(slot.bind(self));
    return true;
  }

  /** @param {any} sender @param {any} value */
  emit(sender, value) {
    for (const slot of this.slots) slot(sender, value);
  }
}

class Comm {
  /** @type {(message: any) => any} */
  onMsg = () => {};
  /** @type {(message: any) => any} */
  onClose = () => {};

  /** @param {Kernel} kernel @param {string} targetName @param {string} commId */
  constructor(kernel, targetName, commId) {
    this.kernel = kernel;
    this.targetName = targetName;
    this.commId = commId;
  }

  /** @param {any} data @param {any} [metadata] @param {ArrayBuffer[]} [buffers] */
  open(data, metadata, buffers) {
    const content = { comm_id: this.commId, target_name: this.targetName, data };
    return this.kernel.request("comm_open", content, metadata, buffers);
  }

  /** @param {any} data @param {any} [metadata] @param {ArrayBuffer[]} [buffers] */
  send(data, metadata, buffers) {
    return this.kernel.request("comm_msg", { comm_id: this.commId, data }, metadata, buffers);
  }

  /** @param {any} [data] */
  close(data) {
    return this.kernel.request("comm_close", { comm_id: this.commId, data });
  }
}

export class Kernel {
  iopubMessage = new Signal();
  statusChanged = new Signal();
  connectionStatusChanged = new Signal();
  status = "idle";
  connectionStatus = "connected";
  handleComms = true;
  session = crypto.randomUUID();
  /** @type {Map<string, Comm>} */
  comms = new Map();
  /** @type {Map<string, (comm: Comm, message: any) => any>} */
  targets = new Map();
  /** What was asked, by the id of the message. @type {Map<string, any>} */
  asked = new Map();
  /** Who takes messages away from where they would go, by the id of what they answer. @type {Map<string, (message: any) => any>} */
  hooks = new Map();
  /** As in Jupyter's own, a message waits until those before it have been dealt with. */
  last = Promise.resolve();

  /** Starts a kernel. @param {string} token of the server that this page comes from */
  static async start(token) {
    const headers = { Authorization: `token ${token}` };
    const { id } = await (await fetch("/api/kernels", { method: "POST", headers })).json();
    const kernel = new Kernel(id, token);
    await new Promise((resolve) => kernel.socket.addEventListener("open", resolve));
    return kernel;
  }

  /** @param {string} id @param {string} token */
  constructor(id, token) {
    this.socket = new WebSocket(`/api/kernels/${id}/channels?session_id=${this.session}&token=${token}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => {
      this.last = this.last.then(() => this.take(read(data))).catch((error) => console.error("widget", error.stack));
    });
  }

  /** @param {string} name @param {(comm: Comm, message: any) => any} callback */
  registerCommTarget(name, callback) {
    this.targets.set(name, callback);
  }

  /** @param {string} name @param {string} [id] */
  createComm(name, id = crypto.randomUUID()) {
    const comm = new Comm(this, name, id);
    this.comms.set(id, comm);
    return comm;
  }

  /** @param {string} id @param {(message: any) => any} hook */
  registerMessageHook(id, hook) {
    this.hooks.set(id, hook);
  }

  /** @param {string} id */
  removeMessageHook(id) {
    this.hooks.delete(id);
  }

  /** @param {any} content */
  requestCommInfo(content) {
    return this.request("comm_info_request", content).reply;
  }

  /** Runs a cell; its reply says how it ended. @param {string} code */
  execute(code) {
    return this.request("execute_request", { code, silent: false, allow_stdin: false }).reply;
  }

  /** @param {string} msg_type @param {any} content @param {any} [metadata] @param {ArrayBuffer[]} [buffers] */
  request(msg_type, content, metadata = {}, buffers = []) {
    const header = { msg_id: crypto.randomUUID(), msg_type, session: this.session, username: "", version: "5.3" };
    const msg = { header, parent_header: {}, channel: "shell", content, metadata };
    /** @type {any} */
    const future = { msg, onIOPub() {}, onReply() {}, onStdin() {} };
    future.reply = new Promise((resolve) => (future.answer = resolve));
    this.asked.set(header.msg_id, future);
    this.socket.send(written(msg, buffers));
    return future;
  }

  /** @param {any} message */
  async take(message) {
    const { header, content, channel } = message;
    const future = this.asked.get(message.parent_header.msg_id);
    if (header.msg_type === "comm_open") {
      const comm = this.createComm(content.target_name, content.comm_id);
      await this.targets.get(content.target_name)?.(comm, message);
    }
    if (header.msg_type === "comm_msg") await this.comms.get(content.comm_id)?.onMsg(message);
    if (header.msg_type === "comm_close") this.comms.get(content.comm_id)?.onClose(message);
    const passed = (await this.hooks.get(message.parent_header.msg_id)?.(message)) !== false;
    if (channel === "iopub" && passed) {
      future?.onIOPub(message);
      this.iopubMessage.emit(this, message);
    }
    if (channel === "shell") {
      future?.onReply(message);
      future?.answer(message);
    }
  }
}

/** A message as it came: text, or where it has buffers the number and the places of its parts, its text, its buffers.
 * @param {string | ArrayBuffer} data */
function read(data) {
  if (typeof data === "string") return JSON.parse(data);
  const head = new DataView(data);
  const places = Array.from({ length: head.getUint32(0) }, (_, index) => head.getUint32(4 * (index + 1)));
  const [text, ...buffers] = places.map((place, index) => new DataView(data.slice(place, places[index + 1])));
  return { ...JSON.parse(new TextDecoder().decode(text)), buffers };
}

/** @param {any} message @param {BlobPart[]} buffers */
function written(message, buffers) {
  if (!buffers.length) return JSON.stringify(message);
  const parts = [new TextEncoder().encode(JSON.stringify(message)), ...buffers].map((part) => new Blob([part]));
  const places = [4 * (parts.length + 1)];
  for (const part of parts) places.push(/** @type {number} */ (places.at(-1)) + part.size);
  const head = new DataView(new ArrayBuffer(places[0]));
  [parts.length, ...places.slice(0, -1)].forEach((number, index) => head.setUint32(4 * index, number));
  return new Blob([head, ...parts]);
}
