/*
 * A disk that can be watched and broken: loaded into the real binary with LD_PRELOAD, it stands between the program and the C library's
 * calls on files below one directory. It decides nothing about recordings; what a test reads or orders stands in disk_layer.rs.
 *
 * MOCKD_DISK_ROOT    the directory; what is elsewhere, and every socket, passes untouched
 * MOCKD_DISK_LOG     where each change that succeeded is appended, in the order in which it happened (see `record`)
 * MOCKD_DISK_FAULTS  the rules for calls that fail, read anew before each call (see `judge`)
 * MOCKD_DISK_FIRED   where each call that was made to fail, to wait or to stop short is appended, a line each
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_PATH 4096
#define SHORT (-1)

/* The C library's own function of this name. */
#define REAL(name) ((__typeof__(&name))real(#name))

static char *paths[MAX_FDS]; /* of open files below the root; a name is never freed, for another thread may be reading it */
static const char *root, *rules_path;
static int log_fd = -1, fired_fd = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static uint64_t calls;

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static int open_aside(const char *path) {
    return path ? REAL(open64)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("MOCKD_DISK_ROOT");
    rules_path = getenv("MOCKD_DISK_FAULTS");
    log_fd = open_aside(getenv("MOCKD_DISK_LOG"));
    fired_fd = open_aside(getenv("MOCKD_DISK_FIRED"));
}

/* Writes the whole path of `name` into `whole`; false where it is not below the root. */
static int is_ours(int dir, const char *name, char *whole) {
    if (!root || !name || !name[0]) return 0;
    if (name[0] == '/') {
        snprintf(whole, MAX_PATH, "%s", name);
    } else if (dir != AT_FDCWD) {
        if (dir < 0 || dir >= MAX_FDS || !paths[dir]) return 0;
        snprintf(whole, MAX_PATH, "%s/%s", paths[dir], name);
    } else {
        char here[MAX_PATH / 2];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(whole, MAX_PATH, "%s/%s", here, name);
    }
    size_t length = strlen(root);
    return strncmp(whole, root, length) == 0 && (whole[length] == '/' || whole[length] == 0);
}

static const char *path_of(int fd) { return fd >= 0 && fd < MAX_FDS ? paths[fd] : NULL; }

static void remember(int fd, const char *path) {
    if (fd >= 0 && fd < MAX_FDS) paths[fd] = path ? strdup(path) : NULL;
}

// A call of a disk that is slow: the fault itself, nobody waits for an event by it.
static void nap(long ms) {
    struct timespec some = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&some, &some) && errno == EINTR) {}
}

static int is_about(const char *path, const char *part) {
    size_t length = strlen(part), whole = strlen(path);
    if (strcmp(part, "*") == 0) return 1;
    if (part[length - 1] != '$') return strstr(path, part) != NULL;
    return whole >= length - 1 && strncmp(path + whole - (length - 1), part, length - 1) == 0;
}

/*
 * The first rule that takes this call: `CALLS FIRST LAST WHAT PART`, a line each. CALLS: names with commas, or `*`. FIRST, LAST: which of
 * the process's calls below the root, counted from 1. WHAT: an errno's number, `short`, `slow:MS`, or `hang` (as long as the rule stands).
 * PART: what the path must contain, `*`, or what it must end with and a `$`. Gives 0, the errno, or SHORT.
 */
static int verdict(const char *call, const char *path, uint64_t number, long *wait_ms) {
    int fd = REAL(open64)(rules_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    char text[2048];
    ssize_t length = REAL(pread64)(fd, text, sizeof text - 1, 0);
    REAL(close)(fd);
    if (length <= 0) return 0;
    text[length] = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        char names[512], what[64], part[512];
        unsigned long long first, last;
        if (sscanf(line, "%511s %llu %llu %63s %511s", names, &first, &last, what, part) != 5) continue;
        if (number < first || number > last || !is_about(path, part)) continue;
        int takes = strcmp(names, "*") == 0;
        char *more = names, *name;
        while (!takes && (name = strsep(&more, ","))) takes = strcmp(name, call) == 0;
        if (!takes) continue;
        if (strcmp(what, "hang") == 0) return *wait_ms = -1, 0;
        if (strncmp(what, "slow:", 5) == 0) return *wait_ms = atol(what + 5), 0;
        return strcmp(what, "short") == 0 ? SHORT : atoi(what);
    }
    return 0;
}

static void tell(const char *call, const char *path, uint64_t number) {
    char line[MAX_PATH + 128];
    int length = snprintf(line, sizeof line, "%llu %s %s\n", (unsigned long long)number, call, path);
    if (fired_fd >= 0 && REAL(write)(fired_fd, line, length) < 0) abort();
}

/* What is to become of a call: 0, an errno, or SHORT. Waits where a rule says so. */
static int judge(const char *call, const char *path) {
    if (!rules_path) return 0;
    int saved = errno;
    uint64_t number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    long wait_ms = 0;
    int result = verdict(call, path, number, &wait_ms);
    if (result || wait_ms) tell(call, path, number);
    if (wait_ms > 0) nap(wait_ms);
    while (wait_ms < 0) {
        nap(5);
        wait_ms = 0;
        result = verdict(call, path, number, &wait_ms);
    }
    errno = saved;
    return result;
}

#define FAIL_IF_TOLD(call, path, failure) \
    do { \
        int told = judge(call, path); \
        if (told > 0) return errno = told, failure; \
    } while (0)

/* A change and its line in the log are one step, among threads and processes. */
static void take_turn(void) {
    if (log_fd < 0) return;
    pthread_mutex_lock(&turn);
    while (flock(log_fd, LOCK_EX) && errno == EINTR) {}
}

static void give_turn(void) {
    if (log_fd < 0) return;
    int saved = errno;
    flock(log_fd, LOCK_UN);
    pthread_mutex_unlock(&turn);
    errno = saved;
}

/* An entry: one letter, inode, position, two lengths (little endian, 64 bits), then two texts. */
static void record(char letter, uint64_t inode, uint64_t at, const void *one, size_t one_length, const void *two, size_t two_length) {
    if (log_fd < 0) return;
    int saved = errno;
    uint64_t numbers[4] = {inode, at, one_length, two_length};
    struct iovec parts[4] = {
        {&letter, 1}, {numbers, sizeof numbers}, {(void *)one, one_length}, {(void *)two, two_length}};
    if (REAL(writev)(log_fd, parts, 4) != (ssize_t)(1 + sizeof numbers + one_length + two_length)) abort();
    errno = saved;
}

static void record_path(char letter, uint64_t inode, uint64_t at, const char *path) {
    record(letter, inode, at, path, strlen(path), "", 0);
}

static uint64_t inode_of(int fd) {
    struct stat64 found;
    return fstat64(fd, &found) ? 0 : found.st_ino;
}

static int open_file(int dir, const char *name, int flags, mode_t mode) {
    char path[MAX_PATH];
    if (!is_ours(dir, name, path)) {
        int fd = REAL(openat64)(dir, name, flags, mode);
        remember(fd, NULL);
        return fd;
    }
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
    FAIL_IF_TOLD(flags & O_CREAT ? "create" : writes ? "openwrite" : "open", path, -1);
    struct stat64 before;
    take_turn();
    int is_new = (flags & O_CREAT) && lstat64(path, &before);
    int fd = REAL(openat64)(dir, name, flags, mode);
    if (fd >= 0) {
        remember(fd, path);
        if (is_new) record_path('C', inode_of(fd), 0, path);
        if (!is_new && (flags & O_TRUNC)) record('T', inode_of(fd), 0, "", 0, "", 0);
    }
    give_turn();
    return fd;
}

#define MODE_OF(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open(const char *name, int flags, ...) { MODE_OF(flags, mode) return open_file(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE_OF(flags, mode) return open_file(AT_FDCWD, name, flags, mode); }
int openat(int dir, const char *name, int flags, ...) { MODE_OF(flags, mode) return open_file(dir, name, flags, mode); }
int openat64(int dir, const char *name, int flags, ...) { MODE_OF(flags, mode) return open_file(dir, name, flags, mode); }

int close(int fd) {
    if (path_of(fd)) remember(fd, NULL);
    return REAL(close)(fd);
}

int closedir(DIR *dir) {
    remember(dirfd(dir), NULL);
    return REAL(closedir)(dir);
}

DIR *opendir(const char *name) {
    char path[MAX_PATH];
    if (is_ours(AT_FDCWD, name, path)) FAIL_IF_TOLD("opendir", path, NULL);
    return REAL(opendir)(name);
}

ssize_t read(int fd, void *buffer, size_t count) {
    if (path_of(fd)) FAIL_IF_TOLD("read", path_of(fd), -1);
    return REAL(read)(fd, buffer, count);
}

ssize_t pread64(int fd, void *buffer, size_t count, off64_t at) {
    if (path_of(fd)) FAIL_IF_TOLD("read", path_of(fd), -1);
    return REAL(pread64)(fd, buffer, count, at);
}

static ssize_t write_file(int fd, const void *bytes, size_t count, off64_t at, int has_place) {
    int told = judge("write", path_of(fd));
    if (told > 0) return errno = told, -1;
    if (told == SHORT && count > 1) count /= 2;
    take_turn();
    ssize_t written = has_place ? REAL(pwrite64)(fd, bytes, count, at) : REAL(write)(fd, bytes, count);
    if (written > 0) record('W', inode_of(fd), has_place ? at : lseek64(fd, 0, SEEK_CUR) - written, "", 0, bytes, written);
    give_turn();
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return path_of(fd) ? write_file(fd, bytes, count, 0, 0) : REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!path_of(fd)) return REAL(writev)(fd, parts, count);
    /* A short write is a right answer. */
    while (count > 1 && parts->iov_len == 0) parts++, count--;
    return count ? write_file(fd, parts->iov_base, parts->iov_len, 0, 0) : 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return path_of(fd) ? write_file(fd, bytes, count, at, 1) : REAL(pwrite64)(fd, bytes, count, at);
}

int ftruncate64(int fd, off64_t length) {
    if (!path_of(fd)) return REAL(ftruncate64)(fd, length);
    FAIL_IF_TOLD("ftruncate", path_of(fd), -1);
    take_turn();
    int result = REAL(ftruncate64)(fd, length);
    if (result == 0) record('T', inode_of(fd), length, "", 0, "", 0);
    give_turn();
    return result;
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    if (path_of(fd)) FAIL_IF_TOLD("fallocate", path_of(fd), -1);
    return REAL(fallocate)(fd, mode, at, length);
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) { return fallocate(fd, mode, at, length); }

static int sync_file(int fd, int (*sync)(int)) {
    if (!path_of(fd)) return sync(fd);
    FAIL_IF_TOLD("fsync", path_of(fd), -1);
    take_turn();
    /* With a log, what is on the disk is what the log says; the real one need not turn. */
    int result = log_fd < 0 ? sync(fd) : 0;
    if (result == 0) record_path('S', inode_of(fd), 0, path_of(fd));
    give_turn();
    return result;
}

int fsync(int fd) { return sync_file(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_file(fd, REAL(fdatasync)); }

int flock(int fd, int how) {
    if (path_of(fd)) FAIL_IF_TOLD("flock", path_of(fd), -1);
    return REAL(flock)(fd, how);
}

int rename(const char *from, const char *to) {
    char old[MAX_PATH], new[MAX_PATH];
    if (!is_ours(AT_FDCWD, from, old) || !is_ours(AT_FDCWD, to, new)) return REAL(rename)(from, to);
    FAIL_IF_TOLD("rename", old, -1);
    take_turn();
    int result = REAL(rename)(from, to);
    if (result == 0) record('R', 0, 0, old, strlen(old), new, strlen(new));
    give_turn();
    return result;
}

static int remove_name(int dir, const char *name, int flags, int is_dir) {
    char path[MAX_PATH];
    if (!is_ours(dir, name, path)) return REAL(unlinkat)(dir, name, flags);
    FAIL_IF_TOLD(is_dir ? "rmdir" : "unlink", path, -1);
    take_turn();
    int result = REAL(unlinkat)(dir, name, flags);
    if (result == 0) record_path('U', 0, 0, path);
    give_turn();
    return result;
}

int unlink(const char *name) { return remove_name(AT_FDCWD, name, 0, 0); }
int rmdir(const char *name) { return remove_name(AT_FDCWD, name, AT_REMOVEDIR, 1); }
int unlinkat(int dir, const char *name, int flags) { return remove_name(dir, name, flags, flags & AT_REMOVEDIR); }

int mkdir(const char *name, mode_t mode) {
    char path[MAX_PATH];
    if (!is_ours(AT_FDCWD, name, path)) return REAL(mkdir)(name, mode);
    FAIL_IF_TOLD("mkdir", path, -1);
    take_turn();
    int result = REAL(mkdir)(name, mode);
    if (result == 0) record_path('K', 0, 0, path);
    give_turn();
    return result;
}

int fchmod(int fd, mode_t mode) {
    if (path_of(fd)) FAIL_IF_TOLD("chmod", path_of(fd), -1);
    return REAL(fchmod)(fd, mode);
}

int chmod(const char *name, mode_t mode) {
    char path[MAX_PATH];
    if (is_ours(AT_FDCWD, name, path)) FAIL_IF_TOLD("chmod", path, -1);
    return REAL(chmod)(name, mode);
}

int statx(int dir, const char *restrict name, int flags, unsigned int mask, struct statx *restrict found) {
    char path[MAX_PATH];
    /* Rust asks for nothing (NULL) to see whether there is such a call. */
    if (is_ours(dir, name, path)) FAIL_IF_TOLD("stat", path, -1);
    return REAL(statx)(dir, name, flags, mask, found);
}
