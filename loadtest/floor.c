/* The floor: what the kernel takes for one send() per subscriber and event, with nothing around it.
 *
 *     floor CONNECTIONS
 *
 * Prints its port, takes that many connections, each of which first sends the 36 bytes of its id and is told
 * `start_ack`; then, for each command on stdin, sends head + id + tail to every connection of a room, one send() each.
 * A command is four unsigned 32-bit numbers in the machine's order (room, rooms, bytes of head, bytes of tail; room
 * 0 of 1 is everybody), head and tail. Ends with stdin. loadtest/floor.py is the same in Python.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ID = 36 };

static void fail(const char *what) { perror(what); exit(1); }

static void read_all(int fd, void *into, size_t count) {
    for (char *at = into; count > 0;) {
        ssize_t got = read(fd, at, count);
        if (got < 0) fail("read");
        if (got == 0) exit(0);
        at += got;
        count -= (size_t)got;
    }
}

static void take(void *into, size_t count) {
    if (count > 0 && fread(into, count, 1, stdin) != 1) exit(0);
}

int main(int argc, char **argv) {
    uint32_t count = argc == 2 ? (uint32_t)atoi(argv[1]) : 0;
    int *sockets = calloc(count, sizeof *sockets), listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    char(*ids)[ID] = calloc(count, ID);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (count == 0 || !sockets || !ids) fail("usage: floor CONNECTIONS");
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("floor on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (uint32_t made = 0; made < count; made++) {
        char id[ID + 1] = {0}, ack[128], prefix[9] = {0};
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) fail("accept");
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        read_all(connection, id, ID);
        uint32_t number = (uint32_t)strtoul(memcpy(prefix, id, 8), NULL, 16);
        if (number >= count) fail("id");
        memcpy(ids[number], id, ID);
        sockets[number] = connection;
        int length = snprintf(ack + 2, sizeof ack - 2, "{\"id\":\"%s\",\"type\":\"start_ack\"}", id);
        ack[0] = (char)0x81, ack[1] = (char)length;
        if (write(connection, ack, (size_t)length + 2) != length + 2) fail("write");
    }
    static char message[1 << 20], tail[1 << 20];
    for (;;) {
        uint32_t command[4];
        take(command, sizeof command);
        uint32_t room = command[0], rooms = command[1], head_bytes = command[2], tail_bytes = command[3];
        if (head_bytes + ID + tail_bytes > sizeof message || rooms == 0) fail("command");
        take(message, head_bytes);
        take(tail, tail_bytes);
        memcpy(message + head_bytes + ID, tail, tail_bytes);
        for (uint32_t number = room; number < count; number += rooms) {
            memcpy(message + head_bytes, ids[number], ID);
            if (send(sockets[number], message, head_bytes + ID + tail_bytes, MSG_NOSIGNAL) < 0) fail("send");
        }
    }
}
