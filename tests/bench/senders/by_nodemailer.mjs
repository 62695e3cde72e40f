// nodemailer, pooled: `by_nodemailer.mjs PORT CONNECTIONS MAILS SIZE`: each person's mail composed from two texts and a picture.
import nodemailer from "nodemailer"
import { createInterface } from "node:readline"
import { randomBytes } from "node:crypto"

const [port, connections, mails, size] = process.argv.slice(2).map(Number)
const filler = "La Ciudad de México elige también con quienes viven fuera de ella; aquí se dice cómo.\n"
const text = filler.repeat(Math.max(1, Math.floor((Math.min(size, 12000) - 1750) / 2 / filler.length)))
const picture = size > 12000 ? randomBytes(Math.floor((size - 12000) * 0.73)) : null
const pool = nodemailer.createTransport({
  host: "127.0.0.1", port, secure: false, ignoreTLS: true, pool: true, maxConnections: connections, maxMessages: Infinity,
})
const link = (number) => `https://red.example.org/p/baja/${number.toString(36).padStart(24, "a")}`
const mail = (number) => ({
  from: "Red Voto Chilango <red@example.org>",
  to: { name: `José Núñez ${number}`, address: `persona${number}@example.org` },
  subject: `Tu credencial desde el extranjero, José ${number}`,
  text: `Hola, José ${number}:\n\n${text}\n${link(number)}\n`,
  html: `<html lang="es"><body><p>Hola, José ${number}:</p><p>${text}</p><a href="${link(number)}">No recibir más</a></body></html>`,
  headers: { "List-Unsubscribe": `<${link(number)}>`, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click" },
  ...(picture ? { attachments: [{ filename: "infografia.png", content: picture, cid: "picture" }] } : {}),
})
console.log("ready")
createInterface({ input: process.stdin }).once("line", async () => {
  const cpu = process.cpuUsage(), began = performance.now()
  let next = 0
  const line = async () => { while (next < mails) await pool.sendMail(mail(next++)) }
  await Promise.all(Array.from({ length: connections * 2 }, line))
  const used = process.cpuUsage(cpu)
  console.log(JSON.stringify({
    seconds: (performance.now() - began) / 1000, cpu: (used.user + used.system) / 1e6, megabytes: process.memoryUsage().rss / 2 ** 20,
  }))
  process.exit(0)
})
