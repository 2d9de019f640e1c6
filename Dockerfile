# One image: `notary init` makes a house, `notary serve` (the default) opens its doors.
#
#   docker build -t evidence-notary .
#   docker run --rm -v notary:/var/lib/notary -e NOTARY_ORIGIN=log.example.org/2026 evidence-notary init
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     -v notary:/var/lib/notary -p 127.0.0.1:8080:8080 evidence-notary
#
# Everything that is kept is below /var/lib/notary or behind NOTARY_DATABASE and NOTARY_OBJECTS;
# nothing else in the image is ever written to. TLS ends at a proxy in front.

FROM python:3.11-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/notary
WORKDIR /srv/notary
# The lock alone first: this layer is built again only when the lock changes. Wheels only: nothing
# that comes from the index runs while the image is built.
COPY requirements.txt ./
RUN /opt/notary/bin/pip install --require-hashes --only-binary :all: -r requirements.txt
COPY app.py ./
COPY notary notary
COPY storage storage
COPY certs certs
COPY verifier verifier
# The code is put on the path rather than built into a wheel: a build back end is one more package
# that no lock names. What the service runs is readable by every user and belongs to none of them.
RUN chmod -R a+rX,go-w /srv/notary \
 && echo /srv/notary > "$(/opt/notary/bin/python -c 'import site; print(site.getsitepackages()[0])')/notary.pth" \
 && printf '%s\n' '#!/opt/notary/bin/python' 'import sys' 'from notary.cli.main import main' \
      'sys.exit(main())' > /opt/notary/bin/notary \
 && chmod 0755 /opt/notary/bin/notary \
 && /opt/notary/bin/python -m compileall -q /srv/notary


FROM python:3.11-slim

RUN groupadd --system --gid 10001 notary \
 && useradd --system --uid 10001 --gid notary --no-create-home --home-dir /var/lib/notary \
      --shell /usr/sbin/nologin notary \
 && install -d -o notary -g notary -m 0700 /var/lib/notary /var/lib/notary/keys
COPY --from=build /opt/notary /opt/notary
COPY --from=build /srv/notary /srv/notary
ENV PATH=/opt/notary/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NOTARY_HOME=/var/lib/notary \
    NOTARY_HOST=0.0.0.0 \
    NOTARY_PORT=8080
# A volume of its own, and one for the keys alone, is new with the owner and mode made above; a folder
# of the host's must belong to 10001:10001.
VOLUME /var/lib/notary
WORKDIR /var/lib/notary
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['NOTARY_PORT'] + '/healthz', timeout=4).close()"]
ENTRYPOINT ["notary"]
CMD ["serve"]
