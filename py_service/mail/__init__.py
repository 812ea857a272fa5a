"""Mail to people: letters that wait in the outbox until they were sent, and the ways in which they go out.

letter     what waits: whom it is for and what it is about, without any secret
outbox     letters in the store: written with the change that causes them, or asked for by anybody
quiet      how many letters an address is sent, counted with the change that writes one
postman    takes what is due, has it written, and sends it until it was taken; one at a time, in the worker
mailer     what a mail is, and who carries it: smtp (a server), mailbox (a folder on this machine)

A letter is written when it is sent. Only then its link is made, so the store never has what opens anything: a token's hash at most.
"""
