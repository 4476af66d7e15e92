// node --require this: a server that names no host listens on loopback instead of everywhere.
const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (options, ...rest) {
  if (typeof options === "number") return listen.call(this, options, "127.0.0.1", ...rest.slice(-1));
  if (options && options.port !== undefined) options = { ...options, host: "127.0.0.1" };
  return listen.call(this, options, ...rest);
};
