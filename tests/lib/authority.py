"""Certificates for tests, by openssl."""

from members import expect, run


class Authority:
    """Makes certificates in a folder."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder = folder
        self.ca("ca")

    def path(self, name):
        return str(self.folder / name)

    def openssl(self, *args):
        done = run(["openssl", *args], check=False)
        expect(done.returncode == 0, f"openssl {args}: {done.stderr}")

    def ca(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-days", "100", "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.pem"))

    def pair(self, name, common_name, san, usage="serverAuth,clientAuth", ca="ca", days="100", extra="", options=()):
        """name.pem and name.key; `extra` lines of extensions, `options` of the signing."""
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={common_name}",
                     "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"))
        (self.folder / f"{name}.ext").write_text((f"subjectAltName={san}\n" if san else "") +
                                                 (f"extendedKeyUsage={usage}\n" if usage else "subjectKeyIdentifier=hash\n") + extra)
        self.openssl("x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path(f"{ca}.pem"), "-CAkey",
                     self.path(f"{ca}.key"), "-CAcreateserial", "-days", days, *options, "-extfile", self.path(f"{name}.ext"),
                     "-out", self.path(f"{name}.pem"))
        return self.path(f"{name}.pem"), self.path(f"{name}.key")
