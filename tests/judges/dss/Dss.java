// Usage: Dss ROOTS.pem LIST.crl FILE...  One line for each finding: file, what, indication, why.

import eu.europa.esig.dss.diagnostic.EvidenceRecordWrapper;
import eu.europa.esig.dss.diagnostic.SignatureWrapper;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;

public class Dss {
    public static void main(String[] given) throws Exception {
        CommonTrustedCertificateSource roots = new CommonTrustedCertificateSource();
        try (InputStream pem = new FileInputStream(given[0])) {
            for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                roots.addCertificate(new CertificateToken((X509Certificate) each));
            }
        }
        ExternalResourcesCRLSource lists = new ExternalResourcesCRLSource(new FileInputStream(given[1]));
        for (int n = 2; n < given.length; n++) {
            File file = new File(given[n]);
            try {
                judge(file, roots, lists);
            } catch (Exception error) {
                say(file, "file", "REFUSED", error.toString());
            }
        }
    }

    static void judge(
            File file, CommonTrustedCertificateSource roots, ExternalResourcesCRLSource lists) {
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(roots);
        verifier.setCrlSource(lists);
        SignedDocumentValidator validator =
                SignedDocumentValidator.fromDocument(new FileDocument(file));
        validator.setCertificateVerifier(verifier);
        Reports reports = validator.validateDocument();
        SimpleReport simple = reports.getSimpleReport();
        if (simple.getContainerType() != null) {
            say(file, "container", simple.getContainerType().toString(), "");
        }
        for (SignatureWrapper each : reports.getDiagnosticData().getSignatures()) {
            say(file, "SIGNATURE " + each.getSignatureFormat(), said(simple, each.getId()),
                    why(simple, each.getId()));
        }
        for (TimestampWrapper each : reports.getDiagnosticData().getTimestampList()) {
            String data = each.isMessageImprintDataFound() + " " + each.isMessageImprintDataIntact();
            say(file, each.getType() + " " + each.getFilename(), said(simple, each.getId()),
                    "data found and intact: " + data + "; " + why(simple, each.getId()));
        }
        for (EvidenceRecordWrapper each : reports.getDiagnosticData().getEvidenceRecords()) {
            say(file, "RECORD " + each.getFilename(), said(simple, each.getId()),
                    why(simple, each.getId()));
        }
    }

    static String said(SimpleReport simple, String id) {
        return simple.getIndication(id) + " " + simple.getSubIndication(id);
    }

    static String why(SimpleReport simple, String id) {
        List<String> found = new ArrayList<>();
        simple.getAdESValidationErrors(id).forEach(each -> found.add("error: " + each.getValue()));
        simple.getAdESValidationWarnings(id).forEach(each -> found.add("warning: " + each.getValue()));
        return String.join("; ", found);
    }

    static void say(File file, String what, String indication, String why) {
        System.out.println(String.join("\t", file.getName(), what, indication, why));
    }
}
