package main

// sysSetns is setns(2), which package syscall has no number of.
const sysSetns = 308
