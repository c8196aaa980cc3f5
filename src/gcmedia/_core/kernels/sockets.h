/* Which of many sockets have something to be read: Linux' epoll; elsewhere there is none, and `sockets_open` says so. */

#ifndef GCMEDIA_SOCKETS_H
#define GCMEDIA_SOCKETS_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "isa.h"

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS_AT_ONCE = 128 };

INLINE int sockets_open(void) { return epoll_create1(EPOLL_CLOEXEC); }

INLINE void sockets_close(int set) { close(set); }

/* `owner` is what `sockets_ready` gives for it, once whenever something new has come: a second look at each socket would
   cost as much as half a read. */
INLINE int sockets_watch(int set, int how, int fd, void *owner) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = owner};
    return epoll_ctl(set, how, fd, &event);
}

INLINE int sockets_add(int set, int fd, void *owner) { return sockets_watch(set, EPOLL_CTL_ADD, fd, owner); }

/* There is more than was read. */
INLINE void sockets_again(int set, int fd, void *owner) { sockets_watch(set, EPOLL_CTL_MOD, fd, owner); }

INLINE void sockets_remove(int set, int fd) {
    struct epoll_event event = {0};
    epoll_ctl(set, EPOLL_CTL_DEL, fd, &event);
}

/* Owners of sockets with octets, an end or an error, without waiting; those that do not fit come next time.  `ending`:
   where octets, if there are any, are the last. */
INLINE int sockets_ready(int set, void **owners, uint8_t *ending) {
    struct epoll_event events[SOCKETS_AT_ONCE];
    int n = epoll_wait(set, events, SOCKETS_AT_ONCE, 0);
    for (int i = 0; i < n; i++) {
        owners[i] = events[i].data.ptr;
        ending[i] = (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    }
    return n;
}

/* Octets that were read; 0 at the end, -1 when there are none at the moment, -2 with `errno` when it has failed. */
INLINE ssize_t socket_read(int fd, void *buffer, size_t room) {
    ssize_t n = recv(fd, buffer, room, MSG_DONTWAIT);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? -1 : -2;
}

#else

enum { SOCKETS_AT_ONCE = 1 };

INLINE int sockets_open(void) {
    errno = ENOSYS;
    return -1;
}
INLINE void sockets_close(int set) { (void)set; }
INLINE int sockets_add(int set, int fd, void *owner) { return (void)set, (void)fd, (void)owner, -1; }
INLINE void sockets_remove(int set, int fd) { (void)set, (void)fd; }
INLINE void sockets_again(int set, int fd, void *owner) { (void)set, (void)fd, (void)owner; }
INLINE int sockets_ready(int set, void **owners, uint8_t *ending) {
    return (void)set, (void)owners, (void)ending, 0;
}
INLINE ssize_t socket_read(int fd, void *buffer, size_t room) { return (void)fd, (void)buffer, (void)room, -2; }

#endif

/* RFC 6455, 5.3: each octet with that of the mask whose turn it is. */
INLINE void unmask(uint8_t *restrict out, const uint8_t *restrict in, size_t n, const uint8_t *mask) {
    uint64_t word, masks;
    size_t i = 0;
    memcpy(&masks, mask, 4);
    memcpy((uint8_t *)&masks + 4, mask, 4);
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, in + i, 8);
        word ^= masks;
        memcpy(out + i, &word, 8);
    }
    for (; i < n; i++) out[i] = in[i] ^ mask[i & 3];
}

#endif
