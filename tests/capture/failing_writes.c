/* Preloaded: writing to a file of a recording fails with EIO as long as the file named by FAILING_WRITES exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd)
{
    const char *flag = getenv("FAILING_WRITES"), *folder = getenv("FAILING_FOLDER");
    char link[64], path[4096];
    ssize_t n;
    if (flag == NULL || folder == NULL || access(flag, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return strncmp(path, folder, strlen(folder)) == 0;
}

#define FAIL_OR(call) do { if (fails(fd)) { errno = EIO; return -1; } return (call); } while (0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *octets, size_t n, off_t at) { FAIL_OR(REAL(pwrite)(fd, octets, n, at)); }
ssize_t pwrite64(int fd, const void *octets, size_t n, off64_t at) { FAIL_OR(REAL(pwrite64)(fd, octets, n, at)); }
int ftruncate(int fd, off_t n) { FAIL_OR(REAL(ftruncate)(fd, n)); }
int ftruncate64(int fd, off64_t n) { FAIL_OR(REAL(ftruncate64)(fd, n)); }
int fdatasync(int fd) { FAIL_OR(REAL(fdatasync)(fd)); }
int fsync(int fd) { FAIL_OR(REAL(fsync)(fd)); }
