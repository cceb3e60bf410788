// Runs a program whose syncs can be made to hang: slowdisk FILE PROGRAM ARGS...
//
// While FILE exists, every fsync and fdatasync of the program waits; when it is gone, they go on. It works for any
// program, one that makes its system calls itself (Go) included, and without privileges: a seccomp filter hands the two
// calls to a second process, which lets each go on in its time. The program keeps this process's number, so that it
// can be signalled. Linux 5.5 or newer.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kMostWaiting = 1024, kPollMs = 2 };

static void supervise(int listener, const char *file, pid_t program) {
  // Requests that wait. One for each thread of the program at most.
  static unsigned long long waiting[kMostWaiting];
  int count = 0;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != program) return;  // it ended before that was said
  for (;;) {
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, count > 0 ? kPollMs : -1) < 0 && errno != EINTR) return;
    if (p.revents & POLLHUP) return;
    if (p.revents & POLLIN) {
      struct seccomp_notif request;
      memset(&request, 0, sizeof request);
      if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) == 0 && count < kMostWaiting) waiting[count++] = request.id;
    }
    if (count > 0 && access(file, F_OK) == 0) continue;
    for (; count > 0; count--) {
      struct seccomp_notif_resp answer;
      memset(&answer, 0, sizeof answer);
      answer.id = waiting[count - 1];
      answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
      ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);  // ENOENT: a signal ended the call, which comes again
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: slowdisk FILE PROGRAM ARGS...\n");
    return 2;
  }
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    perror("slowdisk: no_new_privs");
    return 3;
  }
  const int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (listener < 0) {
    perror("slowdisk: seccomp");
    return 3;
  }
  const pid_t program_id = getpid();
  const pid_t child = fork();
  if (child < 0) {
    perror("slowdisk: fork");
    return 3;
  }
  if (child == 0) {
    for (int fd = 0; fd < 256; fd++)
      if (fd != listener) close(fd);
    supervise(listener, argv[1], program_id);
    _exit(0);
  }
  close(listener);
  execvp(argv[2], argv + 2);
  perror("slowdisk: exec");
  return 3;
}
